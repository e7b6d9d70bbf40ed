"""Content-addressed files in a folder of this machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from legato import crashing
from legato.core.digests import hex_digest
from legato.core.errors import ResultMissing
from legato.system import new_id


class LocalStorage:
    """A folder of blobs. `put` is durable when it returns: written beside, synced, then renamed into place, so no torn file is ever seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path_of(self, key: str) -> Path:
        """Where a key's bytes lie. Keys are hex digests, so none can point outside the folder."""
        if not (len(key) >= 32 and set(key) <= set("0123456789abcdef")):
            raise ResultMissing(f"'{key}' is no storage key")
        return self.folder / key[:2] / key

    def put(self, data: bytes) -> str:
        """Store `data`; returns its key, the BLAKE2b-256 hex digest. Storing the same bytes again writes nothing, unless what is there is
        damaged.
        """
        key = hex_digest(data, 32)
        path = self.path_of(key)
        if _holds(path, data):
            return key
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f"{key}.{new_id()}")
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            crashing.reached("blob.written")
            temporary.replace(path)
            _sync_folder(path.parent)  # a name that is only in memory would be lost with the power
            crashing.reached("blob.in_place")
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return key

    def require(self, key: str) -> None:
        """Raises `ResultMissing` when there is no file under `key`; what one holds is looked at by `get`."""
        if not self.path_of(key).exists():
            raise self._missing(key)

    def get(self, key: str) -> bytes:
        """The bytes under `key`. Raises `ResultMissing` when they are gone, damaged, or cannot be read."""
        path = self.path_of(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise self._missing(key) from None
        except OSError as error:
            raise ResultMissing(f"{path} cannot be read: {error.strerror or error}", hint="see to the file, or delete it") from error
        if hex_digest(data, 32) != key:
            raise ResultMissing(f"{path} is damaged: its hash differs", hint="delete it and run the task again")
        return data

    def _missing(self, key: str) -> ResultMissing:
        return ResultMissing(f"nothing is stored under {key} in {self.folder}", hint="it was deleted, or written on another machine")


def _holds(path: Path, data: bytes) -> bool:
    """Whether the file is there, and is what it should be: a disk that was full or a torn copy may have left less."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # not every file system can; those that cannot keep names by themselves
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
