"""Pages change by themselves, and their buttons do what they say."""

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from legato.core.states import CANCELLED, COMPLETED, RUNNING, SCHEDULED
from legato.store.remote import RemoteStore

from tests.support.waiting import until
from tests.ui.conftest import House, Tab, house_in, in_list

SOON_MS = 8_000
"""Live changes take well under two seconds; a loaded machine may need more."""


@pytest.fixture
def store(house: House) -> Iterator[RemoteStore]:
    made = RemoteStore(house.url)
    yield made
    made.close()


@pytest.mark.parametrize("embedded", [False, True], ids=["told to the server", "written into its database"])
def test_a_run_appears_and_ends_on_open_pages_without_a_reload(
    house: House, tab: Tab, open_tab: Callable[..., Tab], tmp_path: Path, embedded: bool
) -> None:
    go = tmp_path / "go"
    runs = tab.open("runs?flow=waits&state=running")
    expect(runs.get_by_text("No runs match")).to_be_visible()
    runs = tab.open("runs?flow=waits")
    expect(runs.locator("h1")).to_have_text("Runs")

    script = house.flows(f"waits={go}", embedded=embedded)

    run = house.run("waits", RUNNING)
    row = runs.get_by_role("row").filter(has_text=run.name)
    expect(row).to_contain_text("Running", timeout=SOON_MS)
    page = open_tab(house.url).open(f"runs/{run.id}")
    expect(page.get_by_label("What happened")).to_contain_text("running")
    expect(in_list(page, "wait_for_file-0")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_visible()
    marks = "window.untouched = true"
    page.evaluate(marks)
    runs.evaluate(marks)
    go.touch()
    expect(in_list(page, "after-0")).to_be_visible(timeout=SOON_MS)
    expect(page.get_by_label("What happened")).to_contain_text("Completed in", timeout=SOON_MS)
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)
    expect(page).to_have_title(re.compile("^Completed"))
    expect(row).to_contain_text("Completed", timeout=SOON_MS)
    assert page.evaluate("window.untouched") is True
    assert runs.evaluate("window.untouched") is True
    assert script.wait(20) == 0


def test_new_log_lines_come_to_an_open_log(house: House, tab: Tab, tmp_path: Path) -> None:
    go = tmp_path / "go"
    house.flows(f"waits={go}")
    run = house.run("waits", RUNNING)
    page = tab.open(f"runs/{run.id}?tab=logs")
    expect(page.get_by_text("No logs yet")).to_be_visible()

    go.touch()

    expect(page.get_by_role("log")).to_contain_text("the file came", timeout=SOON_MS)


def test_cancel_stops_a_run(house: House, tab: Tab, store: RemoteStore) -> None:
    script = house.flows("endless")
    run = house.run("endless", RUNNING)
    page = tab.open(f"runs/{run.id}")

    page.get_by_role("button", name="Cancel", exact=True).click()

    expect(page.get_by_text(f"Asked {run.name} to stop")).to_be_visible()
    expect(page.get_by_role("button", name="Cancelling")).to_be_disabled()
    script.wait(60)
    until(lambda: store.get_flow_run(run.id).state.type is CANCELLED, what="the run's end")
    expect(page.get_by_label("What happened")).to_contain_text("Cancelled", timeout=SOON_MS)
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)


def test_a_queue_is_made_with_a_preview_and_listed(tab: Tab, store: RemoteStore) -> None:
    page = tab.open("queues/new")
    preview = page.locator("aside.preview")
    expect(preview).to_contain_text("1 deployment matches")
    page.get_by_role("textbox", name="Name").fill("gpu")
    page.get_by_label("Concurrency limit").fill("4")
    page.get_by_label("Tags").fill("gpu")
    page.get_by_label("Tags").press("Enter")
    expect(preview).to_contain_text("Nothing matches")
    page.get_by_role("button", name="Remove gpu").click()
    page.get_by_label("Tags").fill("demo ")
    page.get_by_label("greeting/hourly").check()
    expect(preview).to_contain_text("1 deployment matches")
    expect(preview).to_contain_text("legato work-queue create gpu -t demo -d greeting/hourly --limit 4")

    page.get_by_role("button", name="Create", exact=True).click()

    expect(page.get_by_text("legato agent start gpu")).to_be_visible()
    expect(page.get_by_text("Waiting for an agent")).to_be_visible()
    page.get_by_role("link", name="Open the queue").click()
    expect(page.locator("h1")).to_have_text("gpu")
    expect(page.get_by_text("runs tagged demo, of greeting/hourly")).to_be_visible()
    page.keyboard.press("g")
    page.keyboard.press("q")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="gpu", exact=True))
    expect(row).to_contain_text("No agent")
    page.get_by_role("button", name="Pause gpu").click()
    expect(row).to_contain_text("Paused")
    assert store.get_queue("gpu").queue.paused
    page.get_by_role("button", name="Resume gpu").click()
    expect(row).not_to_contain_text("Paused")
    queue = store.get_queue("gpu").queue
    assert (queue.paused, queue.concurrency_limit, queue.filter.tags, queue.filter.deployments) == (
        False,
        4,
        ("demo",),
        ("greeting/hourly",),
    )
    store.delete_queue(queue.id)
    expect(row).to_have_count(0, timeout=SOON_MS)


def test_a_second_queue_of_a_name_is_refused_with_the_reason(house: House, open_tab: Callable[..., Tab]) -> None:
    page = open_tab(house.url).open("queues/new")
    page.get_by_role("textbox", name="Name").fill("default")

    page.get_by_role("button", name="Create", exact=True).click()

    expect(page.get_by_text("Not created")).to_be_visible()
    expect(page.locator(".fields")).to_contain_text("'default'")


def test_a_deployment_runs_with_the_parameter_that_was_typed(house: House, tab: Tab, store: RemoteStore) -> None:
    page = tab.open("deployments/greeting/hourly")
    page.get_by_role("link", name="Run", exact=True).click()
    form = page.get_by_role("region", name="Run greeting/hourly")
    expect(form.get_by_label("name", exact=True)).to_have_value("everybody")
    form.get_by_label("times").fill("three")
    expect(form.get_by_role("button", name="Run now")).to_be_disabled()
    form.get_by_label("times").fill("3")
    expect(form).to_contain_text("legato deployment run greeting/hourly -p times=3")

    form.get_by_role("button", name="Run now").click()

    expect(page.locator("h1")).to_contain_text("greeting")
    expect(page.get_by_label("What happened")).to_contain_text("Completed in", timeout=30_000)
    expect(page.get_by_text("3 tasks in 1 ring: 3 completed")).to_be_visible()
    run = house.run("greeting", COMPLETED)
    assert (run.parameters, run.deployment_name) == ({"name": "everybody", "times": 3}, "greeting/hourly")


def test_a_deployment_is_paused_and_resumed(house: House, tab: Tab, store: RemoteStore) -> None:
    page = tab.open("deployments/greeting/hourly")

    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("but paused")).to_be_visible()
    assert store.get_deployment("greeting/hourly").paused
    page.get_by_role("button", name="Resume").click()

    expect(page.get_by_text("but paused")).to_have_count(0)
    assert not store.get_deployment("greeting/hourly").paused
    house.run("greeting", SCHEDULED)


def test_keys_lead_everywhere(house: House, tab: Tab) -> None:
    page = tab.open()
    expect(page.locator("h1")).to_be_visible()
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page.locator("h1")).to_have_text("Runs")
    page.keyboard.press("/")
    page.keyboard.type("flow:outer")
    page.keyboard.press("Enter")
    expect(page.get_by_role("table", name="Flow runs").get_by_role("row")).to_have_count(2)
    assert "flow=outer" in page.url
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keys")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("outer")
    page.go_back()
    expect(page.get_by_role("table", name="Flow runs").get_by_role("row")).to_have_count(2)
    page.keyboard.press("Control+k")
    page.keyboard.type("hourly")
    expect(page.get_by_role("option").filter(has_text="greeting/hourly")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("hourly")


def test_runs_of_a_deployment_are_found_from_its_page(tab: Tab) -> None:
    page = tab.open("deployments/greeting/hourly?tab=runs")

    page.get_by_role("link", name="All its runs").click()

    expect(page.get_by_role("button", name="deployment: greeting/hourly")).to_be_visible()
    expect(page.locator(".error")).to_have_count(0)


def test_a_stopped_server_is_said_and_its_return_noticed(built_ui: Path, tmp_path: Path, open_tab: Callable[..., Tab]) -> None:
    with house_in(tmp_path) as own:
        port = own.server.port
        assert own.flows("outer").wait(60) == 0
        tab = open_tab(own.url)
        with tab.page.expect_response(re.compile(r"assets/Deployments-.*\.js")):  # all pages are loaded ahead
            page = tab.open("runs")
        expect(page.get_by_text("outer /")).to_be_visible()
        expect(page.locator(".connection")).to_have_text("live")

        own.server.signal(signal.SIGTERM)

        banner = page.locator(".banner")
        expect(banner).to_contain_text("Reconnecting")
        expect(page.get_by_text("outer /")).to_be_visible()
        page.keyboard.press("g")
        page.keyboard.press("d")
        expect(page.get_by_text("Cannot reach the server")).to_be_visible()
        banner.get_by_role("button", name="Try now").click()
        expect(banner).to_contain_text("Reconnecting")
        own.server.start(port)
        expect(banner).to_have_count(0, timeout=20_000)
        expect(page.locator(".connection")).to_have_text("live")
        expect(page.get_by_text("Cannot reach the server")).to_have_count(0)
        assert own.flows("outer").wait(60) == 0
        page.keyboard.press("g")
        page.keyboard.press("r")
        expect(page.get_by_text("outer /")).to_have_count(2)
