"""Every page loads, says what it is, and says nothing in the console; in both themes and on a phone."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from legato.core.states import COMPLETED, FAILED

from tests.ui.conftest import House, Tab, in_list

PAGES = {
    "": "^Home$",
    "runs": "^Runs$",
    "runs?state=failed": "^Runs$",
    "deployments": "^Deployments$",
    "deployments/greeting/hourly": r"greeting\s*/\s*hourly",
    "deployments/greeting/hourly?tab=schedules": r"greeting\s*/\s*hourly",
    "deployments/greeting/hourly?tab=parameters": r"greeting\s*/\s*hourly",
    "queues": "^Queues$",
    "queues/default": "^default$",
    "queues/new": "^New queue$",
    "artifacts": "^Artifacts$",
    "variables": "^Variables$",
    "there/is/no/such/page": "no page|not found|nothing",
}

INK = """canvas => {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const seen = new Set();
  for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 200) seen.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
  return seen.size;
}"""
"""How many different opaque colours a canvas shows."""


def matches(page: Page, words: str) -> None:
    expect(page.locator("h1").first).to_have_text(re.compile(words, re.IGNORECASE))


@pytest.mark.parametrize("path", PAGES)
def test_a_page_says_what_it_is_and_its_console_stays_empty(tab: Tab, path: str) -> None:
    page = tab.open(path)

    matches(page, PAGES[path])
    expect(page.locator("[aria-label=Loading]")).to_have_count(0)
    page.reload()
    matches(page, PAGES[path])


def test_home_says_in_a_sentence_how_things_are_and_what_failed(tab: Tab) -> None:
    page = tab.open()

    expect(page.locator("main")).to_contain_text(re.compile(r"runs? completed in the last 24 hours, \d+ failed"))
    expect(page.get_by_text("model-training: ValueError: no such column 'PULocationID'")).to_be_visible()
    expect(page.locator("main").get_by_text("greeting/hourly").first).to_be_visible()


def test_a_completed_run_shows_its_answer_all_tasks_and_a_drawn_radar(house: House, tab: Tab) -> None:
    run = house.run("model-training", COMPLETED)
    page = tab.open(f"runs/{run.id}")

    expect(page.locator("h1")).to_contain_text(run.name)
    expect(page.get_by_label("What happened")).to_contain_text("12 tasks")
    expect(page.get_by_text("12 tasks in 6 rings: 12 completed")).to_be_visible()
    for name in ("read_dataframe-0", "read_dataframe-1", "train-0", "train-5", "select-0", "evaluate-0", "report-0"):
        expect(in_list(page, name)).to_be_visible()
    assert page.locator("canvas").evaluate(INK) > 3
    assert "Completed" in page.title()


def test_a_failed_run_says_where_and_with_what_and_opens_the_task(house: House, tab: Tab) -> None:
    run = house.run("model-training", FAILED)
    page = tab.open(f"runs/{run.id}")

    answer = page.get_by_label("What happened")
    expect(answer).to_contain_text("Failed at train-4: ValueError: no such column 'PULocationID'")
    expect(answer).to_contain_text("8 of 12 tasks completed")
    answer.get_by_role("link", name="Show the task").click()
    panel = page.get_by_role("complementary", name="Task train-4")
    expect(panel.get_by_label("Why")).to_contain_text("Failed: ValueError: no such column 'PULocationID'")
    page.reload()
    expect(panel).to_contain_text("no such column")
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)


def test_two_hundred_mapped_tasks_are_one_arc_and_the_failed_one_beside_it(house: House, tab: Tab) -> None:
    run = house.run("wide", FAILED)
    page = tab.open(f"runs/{run.id}")

    expect(page.get_by_text("201 tasks in 2 rings")).to_be_visible()
    expect(page.get_by_text("Drawn as 3 marks")).to_be_visible()
    expect(in_list(page, "square-137")).to_be_visible()
    page.get_by_role("link", name=re.compile("^Tasks")).click()
    expect(page.get_by_role("table", name="Task runs")).to_have_attribute("aria-rowcount", "202")


def test_the_log_is_there_and_filters_by_level_and_text(house: House, tab: Tab) -> None:
    run = house.run("model-training", FAILED)
    page = tab.open(f"runs/{run.id}?tab=logs")

    log = page.get_by_role("log")
    expect(log).to_contain_text("read 2021-01")
    page.get_by_label("Least level").select_option("40")
    expect(log).to_contain_text("model 4 cannot be trained")
    expect(log).not_to_contain_text("read 2021-01")
    page.get_by_label("Least level").select_option("0")
    page.get_by_placeholder("Search the whole run's log").fill("2021-02")
    expect(log.locator(".line")).to_have_count(1)
    expect(log).to_contain_text("read 2021-02")
    assert "q=2021-02" in page.url


@pytest.mark.parametrize("tab_name", ["timeline", "tasks", "inputs", "events"])
def test_the_other_views_of_a_run(house: House, tab: Tab, tab_name: str) -> None:
    seen = {"timeline": "add_features-0", "tasks": "add_features-0", "inputs": "broken", "events": "Running"}
    page = tab.open(f"runs/{house.run('model-training', COMPLETED).id}?tab={tab_name}")

    expect(page.locator(".view").get_by_text(seen[tab_name]).first).to_be_visible()


def test_a_flow_within_a_flow_leads_there_and_back(house: House, tab: Tab) -> None:
    page = tab.open(f"runs/{house.run('outer', COMPLETED).id}?tab=tasks")

    page.get_by_role("table", name="Task runs").get_by_role("link", name="sub-flow").click()
    expect(page.locator("h1")).to_contain_text("inner")
    page.get_by_role("link", name="outer / ").click()
    expect(page.locator("h1")).to_contain_text("outer")


def test_light_and_dark_differ_and_the_choice_is_kept(house: House, open_tab: Callable[..., Tab]) -> None:
    def background(page: Page) -> str:
        return str(page.evaluate("getComputedStyle(document.querySelector('nav')).backgroundColor"))

    shown = {}
    page = None
    for scheme in ("light", "dark"):
        tab = open_tab(house.url, color_scheme=scheme)
        page = tab.open(f"runs/{house.run('model-training', FAILED).id}")
        expect(page.get_by_text("12 tasks in 6 rings")).to_be_visible()
        shown[scheme] = background(page)
        assert page.locator("canvas").evaluate(INK) > 3
        assert tab.complaints == []
    assert shown["light"] != shown["dark"]

    assert page is not None
    page.keyboard.press("d")
    page.reload()
    expect(page.locator("h1")).to_be_visible()
    assert background(page) == shown["light"]


def test_no_page_is_wider_than_a_phone(house: House, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(house.url, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    run = house.run("model-training", FAILED)
    runs = [f"runs/{run.id}{query}" for query in ("", "?tab=timeline", "?tab=tasks", "?tab=logs", "?tab=artifacts", "?tab=inputs", "?tab=events")]
    wide = []
    for path in [*PAGES, *runs, "deployments/greeting/hourly?run=1"]:
        page = tab.open(path)
        expect(page.locator("h1").first).to_be_visible()
        expect(page.locator("[aria-label=Loading]")).to_have_count(0)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth || innerWidth > 390"):
            wide.append(path)
    assert wide == []
    assert tab.complaints == []
