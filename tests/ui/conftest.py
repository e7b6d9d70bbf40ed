"""A real browser before a real server that real runs have filled. Skipped where there is no Chromium or no built UI (in CI: failed)."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, sync_playwright

from legato.core.records import FlowRun, FlowRunFilter
from legato.core.states import StateType
from legato.store.remote import RemoteStore

from tests.server.process import ServerProcess
from tests.support.parts import missing_part
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
DIST = ROOT / "src/legato/server/ui_dist"
HERE = Path(__file__).parent

CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-extensions",
)
"""For a browser as root in a container, that asks nobody outside for anything."""

WAIT_MS = 10_000
"""How long a test looks for what must come; on a quiet machine everything is there within one second."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@dataclass
class House:
    """A server and what is started beside it: users' scripts, an agent."""

    folder: Path
    server: ServerProcess
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.server.url

    def start(self, *command: str, embedded: bool = False, home: Path | None = None) -> subprocess.Popen[bytes]:
        """A Python process with the server as its server or, `embedded`, with the server's database as its own; in a home of its own,
        unless told otherwise."""
        where = {"LEGATO_DATABASE_URL": self.server.database} if embedded else {"LEGATO_API_URL": f"{self.url}/api"}
        environment = {**os.environ, "LEGATO_HOME": str(home or self.folder / "client"), **where}
        child = subprocess.Popen([sys.executable, *command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.children.append(child)
        return child

    def flows(self, *which: str, embedded: bool = False, home: Path | None = None) -> subprocess.Popen[bytes]:
        """Flows of seed.py, one after the other: "wide", "model_training=4"."""
        return self.start(str(HERE / "seed.py"), ",".join(which), embedded=embedded, home=home)

    def legato(self, *words: str) -> None:
        assert self.start("-m", "legato.cli", *words).wait(60) == 0, words

    def run(self, flow: str, state: StateType) -> FlowRun:
        """The latest run of a flow in that state, once there is one."""

        def look() -> list[FlowRun]:
            return store.list_flow_runs(FlowRunFilter(flow_name=flow, states=(state,)), limit=1).items

        store = RemoteStore(self.url)
        try:
            return until(look, what=f"a run of {flow} in {state}")[0]
        finally:
            store.close()

    def close(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.terminate()
            child.wait(20)
        self.server.stop()


@pytest.fixture(scope="session")
def built_ui() -> Path:
    """The UI as the server hands it out, no older than its source."""
    sources = [path for folder in ("src", "public") for path in (ROOT / "ui" / folder).rglob("*") if path.is_file()]
    index = DIST / "index.html"
    if index.is_file() and index.stat().st_mtime >= max(path.stat().st_mtime for path in sources):
        return DIST
    if shutil.which("npm") is None or not (ROOT / "ui/node_modules").is_dir():
        missing_part("The web UI is not built: run `make ui`")
    build = ["npm", "run", "build", "--", "--outDir", str(DIST), "--emptyOutDir"]
    subprocess.run(build, cwd=ROOT / "ui", check=True, capture_output=True)
    return DIST


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, one for the tests of a module. Not longer: Playwright keeps an event loop running in this thread as long as it lives,
    and other tests have loops of their own."""
    path = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    if path is None:
        missing_part("There is no Chromium: `make deps-apt` installs one")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, headless=True, args=list(CHROMIUM_ARGS))
        yield launched
        launched.close()


@contextmanager
def house_in(folder: Path) -> Iterator[House]:
    """A house with an empty server."""
    made = House(folder, ServerProcess(folder / "server").start())
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def house(built_ui: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server that has seen runs end well and badly, with a deployment, a queue and an agent. All tests share it."""
    with house_in(tmp_path_factory.mktemp("house")) as made:
        script = made.flows("model_training", "model_training=4", "wide", "outer")
        made.legato("work-queue", "create", "default")
        made.legato("deployment", "create", str(HERE / "deployed.py"))
        made.start("-m", "legato.cli", "agent", "start", "default")
        assert script.wait(60) == 0
        yield made


@dataclass
class Tab:
    """A page of a browser, with everything it complained about."""

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str = "") -> Page:
        self.page.goto(f"{self.base}/{path}")
        return self.page


def in_list(page: Page, label: str) -> Locator:
    """A task in the list beside the radar."""
    return page.locator(".beside").get_by_role("link", name=re.compile(rf"^{label}\b(?!-)"))


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Opens tabs of contexts of their own (`base`: a server; the rest as `Browser.new_context` has it)."""
    contexts: list[BrowserContext] = []

    def open_(base: str, **options: Any) -> Tab:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        tab = Tab(context.new_page(), base)

        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                tab.complaints.append(message.text)

        tab.page.on("console", on_console)
        tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        return tab

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture
def tab(open_tab: Callable[..., Tab], house: House) -> Iterator[Tab]:
    """A tab before the shared house; a complaint in its console fails the test."""
    opened = open_tab(house.url)
    yield opened
    assert opened.complaints == []
