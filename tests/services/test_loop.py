"""The loop: each service at its interval, whatever the others do."""

import threading
from datetime import datetime

import pytest

from legato.core.clock import ManualClock
from legato.services.loop import Service, ServiceLoop
from legato.services.reaper import Report
from legato.system import SystemClock


class Ticks:
    """A service that counts, and can fail."""

    def __init__(self) -> None:
        self.at: list[datetime] = []
        self.fails = False
        self.report: object = None

    def __call__(self, now: datetime) -> object:
        self.at.append(now)
        if self.fails:
            raise RuntimeError("no")
        return self.report


def test_each_service_ticks_at_its_interval() -> None:
    clock, often, seldom = ManualClock(), Ticks(), Ticks()
    loop = ServiceLoop([Service("often", 5, often), Service("seldom", 30, seldom)], clock)

    for _ in range(60):
        clock.advance(loop.run_due())
    assert len(often.at) == 60
    assert len(seldom.at) == 10


def test_a_failing_service_is_late_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    clock, bad, good = ManualClock(), Ticks(), Ticks()
    bad.fails = True
    loop = ServiceLoop([Service("bad", 5, bad), Service("good", 5, good)], clock)

    for _ in range(4):
        loop.run_due()
        clock.advance(5)

    assert (len(bad.at), len(good.at)) == (4, 4)
    assert loop.late() == ["bad"]
    assert loop.ages_s() == {"bad": 20, "good": 5}
    assert "service_failed" in caplog.text
    bad.fails = False
    loop.run_due()
    assert loop.late() == []


def test_those_who_wait_are_told_when_something_was_done() -> None:
    told: list[int] = []
    ticks = Ticks()
    clock = ManualClock()
    loop = ServiceLoop([Service("one", 5, ticks)], clock, on_tick=lambda: told.append(1))

    for report in (None, Report(), Report(lost=1)):
        ticks.report = report
        loop.run_due()
        clock.advance(5)

    assert told == [1]


def test_it_runs_on_a_thread_until_stopped_and_may_be_stopped_twice_or_before() -> None:
    ticked = threading.Event()
    loop = ServiceLoop([Service("one", 60, lambda _: ticked.set())], SystemClock())
    ServiceLoop([], SystemClock()).stop()

    loop.start()
    assert ticked.wait(5)
    loop.stop()
    loop.stop()

    assert not [thread for thread in threading.enumerate() if thread.name == "legato-services"]
