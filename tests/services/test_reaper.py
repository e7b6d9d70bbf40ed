"""The reaper: leases that ran out, processes that are gone, and processes that are only slow."""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legato.core.clock import JumpWatch, ManualClock
from legato.core.errors import Unavailable
from legato.core.records import Beat, OnLost
from legato.core.states import CRASHED, RUNNING, SCHEDULED
from legato.services import reaper
from legato.services.reaper import Report
from legato.store.open import open_sql_store
from legato.store.port import Store

from tests.store.make import NOON, apply, at, begin, claimed, move

HOUR, YEAR = 3600.0, 365 * 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_sql_store(f"sqlite:///{tmp_path}/legato.db")
    yield opened
    opened.close()


def tick(store: Store, seconds: float, *alive: int) -> Report:
    return reaper.tick(store, at(seconds), host="here", is_alive=lambda pid, _: pid in alive)


def test_a_run_whose_agent_went_silent_is_reported_lost(store: Store) -> None:
    run = claimed(store)

    assert tick(store, 30) == Report()
    assert tick(store, 31) == Report(lost=1)

    lost = store.get_flow_run(run.id)
    assert (lost.state.type, lost.lease_expires_at) == (CRASHED, None)
    assert "agent-1 has given no sign of life" in lost.state.message
    assert tick(store, 32) == Report()


def test_a_lost_run_comes_again_where_its_policy_says_so(store: Store) -> None:
    run = claimed(store, on_lost=OnLost.RETRY)

    tick(store, 31)

    assert store.get_flow_run(run.id).state.type is SCHEDULED


def test_a_slow_process_of_this_host_is_not_given_up(store: Store) -> None:
    run = begin(store, host="here", pid=7)
    store.heartbeat([], lease_s=30, now=at(0))
    with_lease = begin(store, host="here", pid=7, lease_expires_at=at(30))

    assert tick(store, 31, 7) == Report(renewed=1)

    assert store.get_flow_run(run.id).state.type is RUNNING
    assert store.get_flow_run(with_lease.id).lease_expires_at == at(61)


def test_a_process_of_this_host_that_is_gone_is_reported_at_once(store: Store) -> None:
    run = begin(store, host="here", pid=7, lease_expires_at=at(900))
    child = begin(store, host="here", pid=7, parent_run_id=run.id)
    retrying = begin(store, host="here", pid=7)
    apply(store, move(retrying, SCHEDULED, 1, name="AwaitingRetry", due=900), 1)

    tick(store, 1)

    assert [store.get_flow_run(each.id).state.type for each in (run, child, retrying)] == [CRASHED] * 3
    assert store.get_flow_run(run.id).state.message == "its process 7 on here is gone"


def test_the_process_that_took_a_run_up_may_be_younger_than_the_run(store: Store) -> None:
    run = begin(store, host="here", pid=7)
    tick(store, 1)
    store.take_flow_run(run.id, host="here", pid=8, lease_s=30, why="retried", now=at(100))

    def is_alive(pid: int, started_before: datetime) -> bool:
        return pid == 8 and started_before >= at(99)  # it began a second before it took the run

    assert reaper.tick(store, at(101), host="here", is_alive=is_alive) == Report()


def test_processes_of_other_hosts_cannot_be_looked_at(store: Store) -> None:
    silent = begin(store, host="there", pid=7, lease_expires_at=at(30))
    unleased = begin(store, host="there", pid=7)

    assert tick(store, 31) == Report(lost=1)

    assert store.get_flow_run(silent.id).state.type is CRASHED
    assert store.get_flow_run(unleased.id).state.type is RUNNING


def test_an_agents_process_is_the_agents_business(store: Store) -> None:
    run = claimed(store, host="here", pid=7)

    assert tick(store, 1) == Report()

    assert store.get_flow_run(run.id).state.type is RUNNING


def test_a_clock_that_was_set_costs_no_living_run(store: Store) -> None:
    """An hour and a year, forwards and back: every lease is granted once more, and runs out if nobody renews it then."""
    jumps = [HOUR, -HOUR, YEAR, -YEAR]
    now = 0.0
    for jump in jumps:
        run = claimed(store, now)
        now += jump

        reaper.tick(store, at(now), host="here", is_alive=lambda _, __: False, jumped=True)
        assert store.get_flow_run(run.id).state.type is RUNNING, jump
        reply = store.heartbeat([Beat(run.id, run.epoch)], lease_s=30, now=at(now + 10))[0]
        reaper.tick(store, at(now + 35), host="here", is_alive=lambda _, __: False)
        assert reply.alive
        assert store.get_flow_run(run.id).state.type is RUNNING, jump
        reaper.tick(store, at(now + 45), host="here", is_alive=lambda _, __: False)
        assert store.get_flow_run(run.id).state.type is CRASHED, jump
        now += 50


def test_a_jump_is_seen_where_the_time_told_and_the_time_passed_part() -> None:
    class Clock(ManualClock):
        passed_s = 0.0

        def monotonic_s(self) -> float:
            return self.passed_s

    clock = Clock(NOON)
    watch = JumpWatch(clock)
    clock.advance(5)
    clock.passed_s += 5
    assert not watch.has_jumped()
    for jump in (HOUR, -HOUR, YEAR, -YEAR):
        clock.advance(jump + 5)
        clock.passed_s += 5
        assert watch.has_jumped()
        assert not watch.has_jumped()


class Stalls:
    """A store whose writes wait, or fail, while something holds up the database; and the clock that passes meanwhile."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.waits_s = 0.0
        self.fails = False
        self.clock = ManualClock(NOON)

    def __getattr__(self, verb: str) -> Any:
        return getattr(self.store, verb)

    def heartbeat(self, *arguments: Any, **named: Any) -> Any:
        self.clock.advance(self.waits_s)
        if self.fails:
            raise Unavailable("locked")
        return self.store.heartbeat(*arguments, **named)


LOOKS = 5


@given(st.integers(0, 120), st.integers(0, 120), st.sampled_from(["stands still", "writes wait", "writes fail"]), st.integers(0, 4))
@settings(max_examples=150, deadline=None)
def test_no_run_is_given_up_for_signs_of_life_that_could_not_come_through(begins: int, lasts: int, how: str, phase: int) -> None:
    """A server looks every 5 s, an agent beats every 3 s, and in between neither comes through for a while."""
    store = open_sql_store("sqlite://")
    run = claimed(store)
    stalls = Stalls(store)
    silences = reaper.Silences(stalls.clock)
    for second in range(begins + lasts + 60):
        stalled = begins <= second < begins + lasts
        stalls.fails, stalls.waits_s = stalled and how == "writes fail", 9.0 if stalled and how == "writes wait" else 0.0
        if second % LOOKS == phase and not (stalled and how == "stands still"):
            with contextlib.suppress(Unavailable):
                reaper.tick(stalls, at(second), host="here", is_alive=lambda _, __: False, silences=silences)
        if second % 3 == 0 and not stalled:
            assert store.heartbeat([Beat(run.id, run.epoch)], lease_s=30, now=at(second))[0].alive, second

    assert store.get_flow_run(run.id).state.type is RUNNING
    store.close()


@pytest.mark.parametrize("phase", range(LOOKS))
def test_a_run_whose_holder_is_gone_is_given_up_within_45_s(store: Store, phase: int) -> None:
    run, silences = claimed(store), reaper.Silences(ManualClock(NOON))

    for second in range(46):
        if second % LOOKS == phase:
            reaper.tick(store, at(second), host="here", is_alive=lambda _, __: False, silences=silences)

    assert store.get_flow_run(run.id).state.type is CRASHED
