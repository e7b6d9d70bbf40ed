"""Bundles: a folder of source, packed so that the same files always give the same bytes, and unpacked once under their hash.

What git ignores stays out; without git, caches, hidden folders and environments do. A bundle is code, not data: it is limited in size.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from legato.core.errors import Corrupt, UsageError

LIMIT_BYTES = 25_000_000
"""Unpacked size above which a folder is refused: a bundle that large holds data, which belongs in storage or a package."""

_SKIPPED = {"__pycache__", "node_modules", "venv", "env", "build", "dist", "site-packages"}
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Blobs(Protocol):
    """Where bundles lie (see `local.LocalStorage`)."""

    def put(self, data: bytes) -> str: ...

    def get(self, key: str) -> bytes: ...


def pack(folder: Path) -> bytes:
    """The folder's source as a zip, byte for byte the same for the same files (sorted, no times, no owners).

    Raises `UsageError` when it is larger than LIMIT_BYTES, naming the largest files.
    """
    files = sorted(_files(folder))
    sizes = {file: (folder / file).stat().st_size for file in files}
    if sum(sizes.values()) > LIMIT_BYTES:
        largest = ", ".join(f"{file} ({size / 1e6:.1f} MB)" for file, size in sorted(sizes.items(), key=lambda item: -item[1])[:3])
        raise UsageError(
            f"{folder} holds {sum(sizes.values()) / 1e6:.0f} MB, more than the {LIMIT_BYTES / 1e6:.0f} MB a bundle may hold; largest: {largest}",
            hint="name data files in .gitignore, or keep flows in a folder of their own",
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            info = zipfile.ZipInfo(file, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o755 if os.access(folder / file, os.X_OK) else 0o644) << 16
            archive.writestr(info, (folder / file).read_bytes())
    return buffer.getvalue()


def fetch(blobs: Blobs, key: str, cache: Path) -> Path:
    """The folder that holds bundle `key`, unpacked under `cache` unless it is there already. Safe when many processes do so at once."""
    target = cache / key
    if target.is_dir():
        return target
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=cache))
    try:
        unpack(blobs.get(key), temporary)
        temporary.rename(target)
    except OSError:
        if not target.is_dir():  # otherwise another process was faster
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def unpack(data: bytes, folder: Path) -> None:
    """Unpack a bundle. Raises `Corrupt` for one that is damaged or would write outside `folder`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                target = folder / info.filename
                if not target.resolve().is_relative_to(folder.resolve()):
                    raise Corrupt(f"the bundle holds a path that leads outside: {info.filename}")
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                target.write_bytes(archive.read(info))
                target.chmod(info.external_attr >> 16 & 0o755 or 0o644)
    except zipfile.BadZipFile as error:
        raise Corrupt(f"the bundle cannot be unpacked: {error}") from error


def _files(folder: Path) -> Iterator[str]:
    """Relative paths, with forward slashes, of what belongs into the bundle."""
    listed = _listed_by_git(folder)
    if listed is not None:
        yield from (file for file in listed if (folder / file).is_file())
        return
    for directory, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _SKIPPED and not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and not name.endswith((".pyc", ".db", ".db-wal", ".db-shm")):
                yield (Path(directory) / name).relative_to(folder).as_posix()


def _listed_by_git(folder: Path) -> list[str] | None:
    """Tracked and untracked files that git does not ignore; None outside a git checkout or without git."""
    command = ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        found = subprocess.run(command, capture_output=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return [name for name in found.stdout.decode(errors="surrogateescape").split("\0") if name]
