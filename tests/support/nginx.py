"""A real nginx before a server, set up as the documentation says. Skipped where there is none (in CI: failed)."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.parts import missing_part
from tests.support.ports import free_port

OPERATE = Path(__file__).parents[2] / "docs" / "how-to" / "operate.md"
CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""


def documented_location(path: str, server_port: int, *, strips: bool = True) -> str:
    """What the page about operating says to write, for this path and server. Not `strips`: the path is handed on as it is."""
    (block,) = re.findall(r"```nginx\n(.*?)```", OPERATE.read_text(encoding="utf-8"), re.DOTALL)
    made = block.replace("/tools/flows/", path).replace("http://127.0.0.1:4200/", f"http://127.0.0.1:{server_port}{'/' if strips else ''}")
    assert made != block
    return made


@contextmanager
def nginx(folder: Path, location: str) -> Iterator[str]:
    """Run it; gives the address it listens on."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        missing_part("There is no nginx: `make deps-apt` installs one")
    folder.mkdir(parents=True)
    port = free_port()
    (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, port=port, location=location))
    process = subprocess.Popen([program, "-c", str(folder / "nginx.conf"), "-p", str(folder)], stderr=subprocess.DEVNULL)
    try:
        _await(port, process, folder)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _await(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 15
    while True:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        log = folder / "error.log"
        assert process.poll() is None, log.read_text() if log.exists() else "nginx ended"
        assert time.monotonic() < deadline
        time.sleep(0.02)
