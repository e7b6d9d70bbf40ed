"""Results and bundles in a folder of this machine."""

from pathlib import Path

from legato.storage.local import LocalStorage


def test_a_damaged_file_is_written_anew_by_storing_the_bytes_again(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    key = storage.put(b"what it was")
    for damage in (b"", b"what it", b"what it WAS"):
        storage.path_of(key).write_bytes(damage)
        assert storage.put(b"what it was") == key
        assert storage.get(key) == b"what it was"
