"""Bundles: a folder of source, packed so that the same files always give the same bytes, and unpacked anew for each run.

What git ignores stays out; without git, caches, hidden files, environments, results of builds and databases do. Submodules and repositories
inside belong to it, and so do links that stay inside the project; links that lead out of it do not. What is left out is named, so that
nobody finds out when a run fails. A bundle is code, not data: it is limited in size. What lies in storage under its hash is never written
to: a run works in a folder of its own.
"""

from __future__ import annotations

import errno
import io
import os
import re
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from legato.core.errors import Corrupt, UsageError

LIMIT_BYTES = 25_000_000
"""Unpacked size above which a folder is refused: a bundle that large holds data, which belongs in storage or a package."""

_CACHES = {"__pycache__", "node_modules", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".tox"}
"""Never packed, and not worth a word. No project keeps source under these names; one may under "env", "build" or "dist", so those are judged
by what is in them.
"""

_BUILT = {"build", "dist"}
_BUILDS_LEAVE = ("lib.", "bdist.", "temp.", "scripts-")
_PACKAGES = (".whl", ".tar.gz", ".zip", ".egg")
_DATABASE = (".db", ".db-wal", ".db-shm", ".db-migrate", ".db-turn")

_SECRET = (
    *(".env", ".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".kdbx"),
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"),
    *(".netrc", ".pypirc", ".npmrc", ".pgpass", ".htpasswd", ".git-credentials", ".dockercfg", "kubeconfig"),
)
"""How the names of files end that hold keys and passwords, and nothing else."""
_SECRET_DATA = re.compile(
    r"\.?(credentials?|secrets?|client[-_]secrets?|service[-_]account|tokens?)(?![a-z]).*\.(json|ya?ml|toml|ini|txt|cfg)|credentials"
)
"""Names of data files that say so themselves: credentials.json, service-account-prod.json, secrets.toml. A module secrets.py is source."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


_OF_ITS_NAMES = frozenset({errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ELOOP})
"""What comes of a bundle's own names when it is unpacked, and of no disk."""


class Blobs(Protocol):
    """Where bundles lie (see `local.LocalStorage`)."""

    def put(self, data: bytes) -> str: ...

    def get(self, key: str) -> bytes: ...


class LeftOut(NamedTuple):
    """A file or folder that is not in the bundle, and why."""

    path: str
    why: str


class Contents(NamedTuple):
    """What belongs into a bundle: where each file lies, by its name in the bundle; and what is left out."""

    files: dict[str, Path]
    left_out: list[LeftOut]


def pack(folder: Path) -> bytes:
    """The folder's source as a zip, byte for byte the same for the same files (sorted, no times, no owners).

    Raises `UsageError` when it is larger than LIMIT_BYTES, naming the largest files.
    """
    return packed(contents(folder), folder)


def packed(found: Contents, folder: Path) -> bytes:
    """These files as a zip."""
    sizes = {name: path.stat().st_size for name, path in found.files.items()}
    if sum(sizes.values()) > LIMIT_BYTES:
        largest = ", ".join(f"{file} ({size / 1e6:.1f} MB)" for file, size in sorted(sizes.items(), key=lambda item: -item[1])[:3])
        raise UsageError(
            f"{folder} holds {sum(sizes.values()) / 1e6:.0f} MB, more than the {LIMIT_BYTES / 1e6:.0f} MB a bundle may hold; largest: {largest}",
            hint="name data files in .gitignore, or keep flows in a folder of their own",
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(found.files.items()):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o755 if os.access(path, os.X_OK) else 0o644) << 16
            archive.writestr(info, path.read_bytes())
    return buffer.getvalue()


def contents(folder: Path) -> Contents:
    """What of a folder belongs into its bundle."""
    found = Contents({}, [])
    folder = folder.resolve()
    root = _project_of(folder)
    if root is not None and not _is_ignored(folder):
        _add_listed(found, folder, "", root)
    else:
        _add_walked(found, folder, "", folder, frozenset())
    return _with_names_that_are_text(found)


def _with_names_that_are_text(found: Contents) -> Contents:
    """What can be packed and told: bundles name files in UTF-8, and a file system may hold names that are none."""
    odd = [LeftOut(name, "its name is no UTF-8") for name in found.files if not _is_text(name)]
    files = {name: path for name, path in found.files.items() if _is_text(name)}
    return Contents(files, [LeftOut(_readable(one.path), _readable(one.why)) for one in [*found.left_out, *odd]])


def _is_text(name: str) -> bool:
    return _readable(name) == name


def _readable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def working_folder(home: Path, run_id: str, epoch: int, attempt: int) -> Path:
    """The folder that an attempt at a run works in: its own, with the source as it was packed. It goes away with the attempt."""
    return home / "runs" / f"{run_id}-{epoch}-{attempt}"


def ready_folder(home: Path, pid: int, number: int) -> Path:
    """A folder that a process which waits for a run unpacks a bundle into, ahead of time."""
    return home / "ready" / f"{pid}-{number}"


def unpack(data: bytes, folder: Path) -> None:
    """Unpack a bundle. Raises `Corrupt` for one that is damaged, too large, or would write outside `folder`."""
    left = LIMIT_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                target = folder / info.filename
                if not target.resolve().is_relative_to(folder.resolve()) or info.is_dir():
                    raise Corrupt(f"the bundle holds a path that leads outside: {info.filename}")
                with archive.open(info) as file:
                    content = file.read(left + 1)  # what the archive says of its sizes is not believed
                left -= len(content)
                if left < 0:
                    raise Corrupt(f"the bundle unpacks to more than the {LIMIT_BYTES / 1e6:.0f} MB that it may hold")
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                target.write_bytes(content)
                target.chmod(info.external_attr >> 16 & 0o755 or 0o644)
    except Corrupt:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None and error.errno not in _OF_ITS_NAMES:
            raise  # the disk's fault
        raise Corrupt(f"the bundle cannot be unpacked: {error}") from error


# ---------------------------------------------------------------------- with git


def _git(folder: Path, *arguments: str) -> list[str] | None:
    """What git lists; None outside a checkout or without git."""
    try:
        found = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return [name for name in found.stdout.decode(errors="surrogateescape").split("\0") if name]


def _project_of(folder: Path) -> Path | None:
    """The root of the checkout that a folder is in: links may lead anywhere within it."""
    found = _git(folder, "rev-parse", "--show-toplevel")
    return Path(found[0].rstrip("\n")).resolve() if found else None


def _is_ignored(folder: Path) -> bool:
    """Whether git ignores a folder as a whole: then it says nothing about what in it belongs together."""
    return _git(folder, "check-ignore", "-q", ".") is not None or _git(folder, "check-ignore", "-q", str(folder)) is not None


def _add_listed(found: Contents, folder: Path, prefix: str, root: Path) -> None:
    """Tracked and untracked files that git does not ignore; submodules and repositories inside as well."""
    tracked = set(_git(folder, "ls-files", "-z", "--cached") or [])
    others = _git(folder, "ls-files", "-z", "--others", "--exclude-standard") or []
    for name in sorted({*tracked, *others}):
        path = folder / name.rstrip("/")
        inside = f"{prefix}{name.rstrip('/')}"
        if path.is_symlink():
            _add_link(found, path, inside, root)
        elif path.is_dir():
            if _git(path, "rev-parse", "--git-dir") is not None and any(path.iterdir()):
                _add_listed(found, path, f"{inside}/", path.resolve())
            else:
                found.left_out.append(LeftOut(inside, "a submodule that is not checked out: git submodule update --init"))
        elif name not in tracked and _is_secret(path.name):
            found.left_out.append(LeftOut(inside, "it looks like a secret, and git does not track it"))
        elif path.is_file():
            found.files[inside] = path
    for name in _git(folder, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory") or []:
        if not (_is_cache(folder / name, name) or _is_environment(folder / name)):
            found.left_out.append(LeftOut(f"{prefix}{name}", "git ignores it"))


# ---------------------------------------------------------------------- without git


def _add_walked(found: Contents, folder: Path, prefix: str, root: Path, above: frozenset[Path]) -> None:
    for path in sorted(folder.iterdir()):
        inside = f"{prefix}{path.name}"
        if path.is_symlink():
            _add_link(found, path, inside, root, above)
        elif path.is_dir():
            if path.name in _CACHES or _is_environment(path):
                continue
            if why := _why_no_source(path):
                found.left_out.append(LeftOut(f"{inside}/", why))
            else:
                _add_walked(found, path, f"{inside}/", root, above | {folder.resolve()})
        elif path.is_file() and not _is_compiled_from(path):
            if why := _why_no_source(path):
                found.left_out.append(LeftOut(inside, why))
            else:
                found.files[inside] = path


def _why_no_source(path: Path) -> str:
    """Why a file or folder stays out where no git says what belongs to the project; empty when it does not."""
    if not path.is_dir() and _is_secret(path.name):
        return "it looks like a secret"
    if path.name.startswith("."):
        return "its name begins with a dot"
    if path.is_dir():
        return "it is the result of a build" if path.name in _BUILT and _is_built(path) else ""
    return "a database is no source" if path.name.endswith(_DATABASE) else ""


def _is_environment(folder: Path) -> bool:
    """Whether a folder is an environment of Python's, whatever its name; a folder of source may well be called "env"."""
    return (folder / "pyvenv.cfg").is_file() or (folder / "conda-meta").is_dir()


def _is_built(folder: Path) -> bool:
    """Whether in a folder lies what a build leaves: packages alone, or what setuptools makes them from."""
    names = [path.name for path in folder.iterdir()]
    only_packages = bool(names) and all(name.endswith(_PACKAGES) for name in names)
    return only_packages or any(name == "lib" or name.startswith(_BUILDS_LEAVE) for name in names)


def _add_link(found: Contents, path: Path, inside: str, root: Path, above: frozenset[Path] = frozenset()) -> None:
    """A link's target, as long as it lies within the project, and is not what the link is in."""
    try:
        target = path.resolve()
    except (OSError, RuntimeError):  # Python 3.13 says OSError where earlier ones say RuntimeError
        found.left_out.append(LeftOut(inside, "a link that leads round in a circle"))
        return
    if not target.is_relative_to(root):
        found.left_out.append(LeftOut(inside, f"a link that leads out of the project, to {path.readlink()}"))
    elif not target.exists():
        found.left_out.append(LeftOut(inside, "a link to nothing"))
    elif target.is_dir():
        if target in above or path.parent.resolve().is_relative_to(target):
            found.left_out.append(LeftOut(inside, "a link to a folder that it is in"))
        else:
            _add_walked(found, target, f"{inside}/", root, above | {target, path.parent.resolve()})
    elif _is_secret(target.name):
        found.left_out.append(LeftOut(inside, "a link to what looks like a secret"))
    else:
        found.files[inside] = target


def _is_secret(name: str) -> bool:
    return name.endswith(_SECRET) or name.startswith(".env.") or _SECRET_DATA.fullmatch(name.lower()) is not None


def _is_cache(path: Path, name: str) -> bool:
    parts = name.rstrip("/").split("/")
    return any(part in _CACHES or part.endswith(".egg-info") for part in parts) or _is_compiled_from(path)


def _is_compiled_from(path: Path) -> bool:
    """Whether a file is bytecode of a source that lies beside it. Without one it is the module: that is how some ship theirs."""
    return path.suffix == ".pyc" and path.with_suffix(".py").exists()


def words_about(left_out: list[LeftOut], most: int = 8) -> Iterator[str]:
    """What was left out, a line each; the rest is counted."""
    for one in left_out[:most]:
        yield f"{one.path} is left out: {one.why}"
    if len(left_out) > most:
        yield f"… and {len(left_out) - most} more"
