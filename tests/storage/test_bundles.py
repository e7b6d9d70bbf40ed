"""What belongs into a bundle, what is named as left out, and what a run may do to it: nothing."""

import contextlib
import io
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legato.core.errors import Corrupt, UsageError
from legato.storage import bundles
from legato.storage.bundles import contents, pack, unpack, words_about


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(os.fsencode(name))


def git(folder: Path, *arguments: str) -> None:
    options = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *options, *arguments], cwd=folder, check=True, capture_output=True)


def plain(folder: Path) -> None:
    write(
        folder,
        "a.py",
        "pkg/b.py",
        "dist/__init__.py",
        "dist/c.py",
        "build/lib/x.py",
        ".env",
        "id_rsa",
        ".hidden/x",
        "__pycache__/a.pyc",
        "x.db",
    )


ODD_SOURCE = {
    "env/a.py",
    "venv/a.py",
    "build/a.py",
    "dist/a.py",
    "build/sub/a.py",
    "sub/env/lib/a.py",
    "site-packages/a.py",
    "dist/old.whl",
}


def odd_names(folder: Path) -> None:
    """Source under names that environments and builds have too, beside real environments and builds."""
    write(folder, *ODD_SOURCE, "sub/build/bdist.linux/a.py", "sub/dist/p-1.whl", "sub/dist/p-1.tar.gz")
    write(folder, "mine/pyvenv.cfg", "mine/lib/python3/site-packages/a.py", "conda/conda-meta/history", "conda/lib/a.py")


def links(folder: Path) -> None:
    write(folder, "a.py", "pkg/b.py")
    write(folder.parent, "outside/secret.txt")
    (folder / "in_file.py").symlink_to("pkg/b.py")
    (folder / "in_folder").symlink_to("pkg")
    (folder / "out_file").symlink_to("../outside/secret.txt")
    (folder / "out_folder").symlink_to("../outside")
    (folder / "passwd").symlink_to("/etc/passwd")
    (folder / "nothing").symlink_to("gone")
    (folder / "pkg" / "up").symlink_to("..")


def repository(folder: Path) -> None:
    write(folder, "a.py", "build/b.py", "dist/c.py", "ignored/d.py", ".env", ".github/x.yml", "notes.pem")
    (folder / ".gitignore").write_text("ignored/\n")
    git(folder, "init", "-q")
    git(folder, "add", "-f", "a.py", "build", "dist", ".gitignore")


def nested(folder: Path) -> None:
    write(folder.parent / "library", "deep/l.py")
    git(folder.parent / "library", "init", "-q")
    git(folder.parent / "library", "add", ".")
    git(folder.parent / "library", "commit", "-qm", "x")
    write(folder, "a.py", "clone/b.py", "clone/junk.log")
    (folder / "clone" / ".gitignore").write_text("*.log\n")
    git(folder, "init", "-q")
    git(folder, "submodule", "add", "-q", str(folder.parent / "library"), "vendored")
    git(folder / "clone", "init", "-q")


def empty_submodule(folder: Path) -> None:
    nested(folder)
    shutil.rmtree(folder / "vendored")
    (folder / "vendored").mkdir()


def links_in_a_repository(folder: Path) -> None:
    git(folder.parent, "init", "-q")
    write(folder, "a.py")
    write(folder.parent, "common/c.py")
    (folder / "shared").symlink_to("../common")
    (folder / "far").symlink_to("/etc")


def ignored_as_a_whole(folder: Path) -> None:
    git(folder.parent, "init", "-q")
    (folder.parent / ".gitignore").write_text("*\n")
    write(folder, "a.py")


def compiled(folder: Path) -> None:
    """Modules that are shipped without their source, beside caches of some that are not."""
    write(folder, "a.py", "a.pyc", "ml/__init__.pyc", "ml/train.pyc", "ml/__pycache__/train.cpython-311.pyc")


def compiled_in_a_repository(folder: Path) -> None:
    compiled(folder)
    (folder / ".gitignore").write_text("*.pyc\n")
    git(folder, "init", "-q")
    git(folder, "add", "-f", "ml/__init__.pyc")


@pytest.mark.parametrize(
    ("make", "files", "left_out"),
    [
        (compiled, {"a.py", "ml/__init__.pyc", "ml/train.pyc"}, set()),
        (compiled_in_a_repository, {".gitignore", "a.py", "ml/__init__.pyc"}, {"ml/train.pyc"}),
        (plain, {"a.py", "pkg/b.py", "dist/__init__.py", "dist/c.py"}, {"build/", ".env", "id_rsa", ".hidden/", "x.db"}),
        (odd_names, ODD_SOURCE, {"sub/build/", "sub/dist/"}),
        (
            links,
            {"a.py", "pkg/b.py", "in_file.py", "in_folder/b.py"},
            {"out_file", "out_folder", "passwd", "nothing", "pkg/up", "in_folder/up"},
        ),
        (repository, {".gitignore", "a.py", "build/b.py", "dist/c.py", ".github/x.yml"}, {"ignored/", ".env", "notes.pem"}),
        (nested, {".gitmodules", "a.py", "clone/b.py", "clone/.gitignore", "vendored/deep/l.py"}, {"clone/junk.log"}),
        (empty_submodule, {".gitmodules", "a.py", "clone/b.py", "clone/.gitignore"}, {"vendored", "clone/junk.log"}),
        (links_in_a_repository, {"a.py", "shared/c.py"}, {"far"}),
        (ignored_as_a_whole, {"a.py"}, set()),
    ],
)
def test_what_belongs_to_a_folder_is_packed_and_the_rest_is_named(
    make: Callable[[Path], None], files: set[str], left_out: set[str], tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    make(folder)

    found = contents(folder)

    assert set(found.files) == files
    assert {one.path for one in found.left_out} == left_out
    assert all(one.why for one in found.left_out)
    unpack(pack(folder), tmp_path / "unpacked")
    assert {path.relative_to(tmp_path / "unpacked").as_posix() for path in (tmp_path / "unpacked").rglob("*") if path.is_file()} == files
    assert pack(folder) == pack(folder)


@pytest.mark.parametrize("with_git", [False, True])
def test_names_that_are_no_text_are_named_and_left_out(with_git: bool, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    write(folder, "a.py")
    write(folder, os.fsdecode(b"\xff/\xfe.txt"), os.fsdecode(b"\xff/b.txt"))
    (folder / "link").symlink_to(os.fsdecode(b"/gone/\xfd"))
    if with_git:
        git(folder, "init", "-q")

    found = contents(folder)

    assert set(found.files) == {"a.py"}
    assert {one.path for one in found.left_out} == {r"\udcff/\udcfe.txt", r"\udcff/b.txt", "link"}
    "\n".join(words_about(found.left_out)).encode()
    assert zipfile.ZipFile(io.BytesIO(pack(folder))).namelist() == ["a.py"]


def test_much_that_is_left_out_is_counted() -> None:
    lines = list(words_about([bundles.LeftOut(f"f{n}", "why") for n in range(11)], 8))

    assert len(lines) == 9
    assert lines[-1] == "… and 3 more"


def archive(*entries: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in entries:
            made.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"junk", archive(("a", b"x" * 40))[:-30], archive(("../a", b"x")), archive(("/etc/a", b"x")), archive(("a/../../b", b"x")),
        archive(("d/", b"")), archive(("a", bytes(bundles.LIMIT_BYTES + 1))), archive(("a", bytes(bundles.LIMIT_BYTES // 2)), ("b", bytes(bundles.LIMIT_BYTES))),
    ],
)  # fmt: skip
def test_a_bundle_that_is_damaged_too_large_or_leads_outside_is_refused(data: bytes, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()

    with pytest.raises(Corrupt):
        unpack(data, place)

    assert [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(place)] == []


def test_a_folder_that_holds_data_is_refused_with_its_largest_files(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(bundles.LIMIT_BYTES + 1))

    with pytest.raises(UsageError, match=r"data\.bin"):
        pack(tmp_path)


def test_what_may_be_executed_stays_so(tmp_path: Path) -> None:
    write(tmp_path / "p", "run.sh", "a.py")
    (tmp_path / "p" / "run.sh").chmod(0o755)
    unpack(pack(tmp_path / "p"), tmp_path / "q")

    assert os.access(tmp_path / "q" / "run.sh", os.X_OK)
    assert not os.access(tmp_path / "q" / "a.py", os.X_OK)


def test_links_that_lead_round_in_a_circle_or_to_a_secret_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text("x = 1")
    (tmp_path / ".env").write_text("PASSWORD=x")
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "settings.txt").symlink_to(".env")

    found = contents(tmp_path)

    assert set(found.files) == {"flow.py"}
    why = {one.path: one.why for one in found.left_out}
    assert {why[name] for name in ("a", "b", "self")} == {"a link that leads round in a circle"}
    assert "secret" in why["settings.txt"]


NAMES = st.sampled_from(["a", "a/b", "a/b/c", "", ".", "..", "../x", "/x", "a/../../x", "a\0b", "x" * 300, "a/", "\\x", "é"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(NAMES, st.binary(max_size=30), st.sampled_from([0o644, 0o120777, 0o104755, 0o40755, 0])), max_size=5), st.data())
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_whatever_a_bundle_is_it_is_unpacked_or_said_to_be_damaged(entries: list[tuple[str, bytes, int]], data: st.DataObject) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in entries:
            info = zipfile.ZipInfo(name or "x")
            info.filename, info.external_attr = name, mode << 16
            archive.writestr(info, content)
    packed_bytes = bytearray(buffer.getvalue())
    for at in data.draw(st.lists(st.integers(0, max(0, len(packed_bytes) - 1)), max_size=3)):
        packed_bytes[at : at + 1] = data.draw(st.binary(max_size=2))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "in"
        with contextlib.suppress(Corrupt):
            unpack(bytes(packed_bytes), folder)

        assert {path.name for path in Path(place).iterdir()} <= {"in"}
        assert not any(path.is_symlink() for path in folder.rglob("*"))
