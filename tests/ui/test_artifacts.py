"""Artifacts and variables in a real browser: shown, sorted, live, and unable to run anything."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from legato.core.states import COMPLETED, RUNNING

from tests.ui.conftest import House, Tab

SOON_MS = 8_000


@pytest.fixture(scope="module")
def shown(house: House) -> str:
    """The id of a run that has made one artifact of each kind. Made in the server's home, so that it can reach the images."""
    script = house.flows("shows", embedded=True, home=house.server.home)
    assert script.wait(60) == 0
    return house.run("shows", COMPLETED).id


def test_a_runs_artifacts_are_shown_each_in_its_way(shown: str, tab: Tab) -> None:
    page = tab.open(f"runs/{shown}?tab=artifacts")

    report = page.get_by_role("article", name="Evaluation").nth(1)
    expect(report.get_by_role("heading", name="Evaluation").last).to_be_visible()
    expect(report.locator("strong")).to_have_text("train-3")
    expect(report.get_by_role("link", name="the run")).to_have_attribute("href", "https://example.com/runs/3")
    expect(report.locator("td").last).to_have_text("0.125")
    expect(page.get_by_role("link", name="experiment 7")).to_have_attribute("rel", "noopener noreferrer")
    expect(page.get_by_role("progressbar", name="loading files")).to_have_attribute("aria-valuenow", "100")
    expect(page.get_by_text("this page loads nothing from other sites")).to_be_visible()
    expect(page.get_by_role("navigation", name="Views of this run").get_by_text("Artifacts8")).to_be_visible()


def test_markdown_runs_nothing_and_shows_html_as_text(shown: str, tab: Tab) -> None:
    page = tab.open(f"runs/{shown}?tab=artifacts")

    report = page.get_by_role("article", name="Evaluation").nth(1)
    expect(report).to_contain_text('<img src=x onerror="window.injected = 1">')
    expect(report).to_contain_text("[this](javascript:alert(1))")
    assert report.locator("img, script, [href^=javascript]").count() == 0
    assert page.evaluate("window.injected") is None


def test_a_table_is_sorted_by_the_column_that_is_clicked(shown: str, tab: Tab) -> None:
    page = tab.open(f"runs/{shown}?tab=artifacts")
    table = page.get_by_role("table", name="Trips by city")

    def cities() -> list[str]:
        return table.locator("tbody tr td:first-child").all_inner_texts()

    expect(table).to_be_visible()
    assert cities() == ["Oslo", "Rome", "Bergen"]
    table.get_by_role("button", name="n", exact=True).click()
    assert cities() == ["Rome", "Oslo", "Bergen"]
    table.get_by_role("button", name="n", exact=True).click()
    assert cities() == ["Bergen", "Oslo", "Rome"]


def test_images_the_server_can_reach_are_shown(shown: str, tab: Tab) -> None:
    page = tab.open(f"runs/{shown}?tab=artifacts")

    for name in ("Loss", "A small image"):
        image = page.get_by_role("img", name=name, exact=True)
        expect(image).to_be_visible()
        assert image.evaluate("async i => { await i.decode(); return i.naturalWidth }") == 400


def test_an_image_on_another_machine_says_where_it_is(house: House, open_tab: Callable[..., Tab], tmp_path: Path) -> None:
    (tmp_path / "go").touch()  # another path, another image: not one the server has from another run
    assert house.flows(f"shows={tmp_path}/go").wait(60) == 0
    tab = open_tab(house.url)

    page = tab.open(f"runs/{house.run('shows', COMPLETED).id}?tab=artifacts")

    expect(page.get_by_role("article", name="Loss")).to_contain_text("The server cannot reach this image")
    expect(page.get_by_role("img", name="A small image")).to_be_visible()


@pytest.mark.parametrize("embedded", [False, True], ids=["told to the server", "written into its database"])
def test_a_bar_moves_while_its_run_goes_on(house: House, tab: Tab, tmp_path: Path, embedded: bool) -> None:
    go = tmp_path / "go"
    script = house.flows(f"shows={go}", embedded=embedded, home=house.server.home)
    page = tab.open(f"runs/{house.run('shows', RUNNING).id}?tab=artifacts")
    bar = page.get_by_role("progressbar", name="loading files")
    expect(bar).to_have_attribute("aria-valuenow", "50", timeout=SOON_MS)
    page.evaluate("window.untouched = true")

    go.touch()

    expect(bar).to_have_attribute("aria-valuenow", "100", timeout=SOON_MS)
    assert page.evaluate("window.untouched") is True
    assert script.wait(20) == 0


def test_a_key_has_its_versions(shown: str, tab: Tab) -> None:
    page = tab.open("artifacts")

    page.get_by_role("table", name="Artifacts by key").get_by_role("link", name="evaluation").click()
    expect(page.locator("h1")).to_have_text(re.compile(r"Artifacts\s*/\s*evaluation"))
    expect(page.get_by_text("Best model:")).to_be_visible()
    page.get_by_role("list").get_by_role("link", name=re.compile("^1 first")).click()
    expect(page.get_by_label("Version 1", exact=True).get_by_text("first")).to_be_visible()
    assert "version=1" in page.url
    page.reload()
    expect(page.get_by_label("Version 1", exact=True).get_by_text("first")).to_be_visible()


def test_variables_are_set_edited_and_removed(tab: Tab) -> None:
    page = tab.open("variables")
    expect(page.get_by_text("No variables yet")).to_be_visible()

    page.get_by_role("button", name="New variable").click()
    page.get_by_role("textbox", name="Name").fill("max-rows")
    page.get_by_role("textbox", name="Value").fill("10")
    expect(page.get_by_text("is stored as number")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    row = page.get_by_role("row").filter(has_text="max-rows")
    expect(row).to_contain_text("10")

    row.get_by_role("button", name="Edit").click()
    page.get_by_role("textbox", name="Value").fill('["rome"]')
    page.get_by_role("button", name="Save").click()
    expect(row).to_contain_text('["rome"]')

    row.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("No variables yet")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(row).to_contain_text('["rome"]')
    row.get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)


def test_search_finds_a_key(shown: str, tab: Tab) -> None:
    page = tab.open()
    expect(page.locator("h1")).to_be_visible()

    page.keyboard.press("Control+k")
    page.get_by_role("dialog").get_by_role("combobox").fill("citie")
    page.get_by_role("dialog").get_by_text("cities", exact=True).click()

    expect(page.locator("h1")).to_have_text(re.compile(r"Artifacts\s*/\s*cities"))
