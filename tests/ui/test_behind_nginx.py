"""The web UI behind a real nginx, under a path, set up as the documentation says: pages, their data, and changes as they happen."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from legato.core.states import RUNNING

from tests.support.nginx import documented_location, nginx
from tests.ui.conftest import House, Tab, in_list

PATH = "/x/y/"


@pytest.fixture(scope="module")
def address(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nginx(tmp_path_factory.mktemp("front") / "nginx", documented_location(PATH, house.server.port)) as url:
        yield url + PATH.rstrip("/")


def test_a_run_is_watched_and_cancelled_through_it(address: str, house: House, open_tab: Callable[..., Tab], tmp_path: Path) -> None:
    go = tmp_path / "go"
    house.flows(f"waits={go}")
    run = house.run("waits", RUNNING)
    tab = open_tab(address)
    page = tab.open()
    page.get_by_role("link", name="Runs").first.click()
    page.get_by_role("link", name=run.name).first.click()

    expect(page).to_have_url(re.compile(f"{re.escape(address)}/runs/"))
    page.reload()
    expect(in_list(page, "wait_for_file-0")).to_be_visible()
    page.evaluate("window.untouched = true")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_label("What happened")).to_contain_text("Cancelled", timeout=20_000)

    assert page.evaluate("window.untouched") is True  # events came: it was not loaded anew
    assert tab.complaints == []
