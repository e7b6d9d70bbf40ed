"""The whole house as real processes: a server, agents, and scripts of users."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from legato.core.errors import Unavailable
from legato.core.records import FlowRun
from legato.store.remote import RemoteStore

from tests.support.ports import free_port
from tests.support.waiting import until


class House:
    """A server that can be killed and started again on the same port and database, and whatever else is started beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server_home = folder / "server"
        self.client_home = folder / "client"
        self.ledger = folder / "ledger.txt"
        self.ledger.touch()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.store = RemoteStore(self.url)
        self.server: subprocess.Popen[bytes] | None = None
        self.children: list[subprocess.Popen[bytes]] = []

    @property
    def database(self) -> str:
        return f"sqlite:///{self.server_home / 'legato.db'}"

    def start_server(self) -> None:
        self.server = self._popen([sys.executable, "-m", "legato.server", "--port", str(self.port)], LEGATO_HOME=str(self.server_home))
        until(self.is_up, what="the server's start")

    def is_up(self) -> bool:
        try:
            self.store.list_queues()
        except Unavailable:
            return False
        return True

    def kill_server(self) -> None:
        assert self.server is not None
        self.server.send_signal(signal.SIGKILL)
        self.server.wait()

    def script(self, source: str, *, remote: bool = True) -> subprocess.Popen[bytes]:
        """Start a user's script; it reports to the server, or (not `remote`) writes into the server's database by itself."""
        path = self.folder / f"script{len(self.children)}.py"
        path.write_text("import os, time\nfrom legato import flow, task\n" + source.replace("LEDGER", repr(str(self.ledger))))
        where = {"LEGATO_API_URL": f"{self.url}/api"} if remote else {"LEGATO_DATABASE_URL": self.database}
        return self._popen([sys.executable, str(path)], LEGATO_HOME=str(self.client_home), **where)

    def agent(self, *queues: str) -> subprocess.Popen[bytes]:
        program = (
            "import sys; from legato import settings; from legato.agent.run import run_agent; from legato.store.open import open_store;"
            "chosen = settings.load(); sys.exit(run_agent(open_store(chosen.store_url), chosen, queues=sys.argv[1:]))"
        )
        environ = {"LEGATO_HOME": str(self.client_home), "LEGATO_API_URL": f"{self.url}/api"}
        return self._popen([sys.executable, "-c", program, *queues], **environ)

    def runs(self) -> list[FlowRun]:
        return self.store.list_flow_runs(oldest_first=True).items

    def lines(self) -> list[str]:
        return self.ledger.read_text().split()

    def _popen(self, command: list[str], **environ: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            command, env={**os.environ, **environ}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.children.append(child)
        return child

    def close(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
        self.store.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()
