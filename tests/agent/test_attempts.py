"""The states of what an agent holds, without a process, a thread or a clock."""

from datetime import UTC, datetime
from itertools import product
from types import SimpleNamespace

import pytest

from legato.agent.attempts import FOLLOWS, HOLDS, LINGERS_AFTER_S, START_TIMEOUT_S, Attempt, Phase
from legato.core.records import Claim, Deployment, FlowRun
from legato.core.states import PENDING, State
from legato.flow_runners.options import SubprocessFlowRunner

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def attempt(number: int = 1, epoch: int = 1) -> Attempt:
    deployment = Deployment(id="d", flow_name="f", name="n", entrypoint="jobs/etl.py:main", created_at=NOW, updated_at=NOW)
    state = State(PENDING, "Pending", NOW)
    run = FlowRun(id="r", flow_name="f", name="run", state=state, created_at=NOW, expected_start_at=NOW, attempt=number, epoch=epoch)
    return Attempt(Claim(flow_run=run, deployment=deployment), at_s=0.0)


@pytest.mark.parametrize(("before", "after"), list(product(Phase, Phase)))
def test_an_attempt_goes_only_where_the_table_says(before: Phase, after: Phase) -> None:
    one = attempt()
    one.phase = before

    went = one.goes(after)

    assert went is (after in FOLLOWS[before])
    assert one.phase is (after if went else before)


def test_every_phase_that_holds_a_run_leads_to_its_end_being_told() -> None:
    for phase in HOLDS:
        assert Phase.EXITED in FOLLOWS[phase]
    assert FOLLOWS[Phase.EXITED] == {Phase.TOLD}
    assert not FOLLOWS[Phase.TOLD]


def test_attempts_at_one_run_are_never_taken_for_each_other() -> None:
    assert len({attempt(number, epoch).key for number, epoch in product((1, 2), (1, 3))}) == 4


def test_a_start_that_nobody_answers_is_given_up_and_one_that_is_answered_runs() -> None:
    silent, answered = attempt(), attempt()
    silent.process, answered.process = SimpleNamespace(pid=0), SimpleNamespace(pid=7)

    assert [silent.looks_after(at_s) for at_s in (0.0, START_TIMEOUT_S, START_TIMEOUT_S + 1)] == ["", "", "give up"]
    assert answered.looks_after(START_TIMEOUT_S + 1) == ""
    assert answered.phase is Phase.RUNNING


def test_what_is_stopping_is_killed_after_its_grace_and_settles_at_once_without_a_process() -> None:
    one, none = attempt(), attempt()
    one.process, none.process = SimpleNamespace(pid=7), SimpleNamespace(pid=0)
    for each in (one, none):
        each.goes(Phase.STOPPING)
        each.kill_at = 10.0

    assert [one.looks_after(at_s) for at_s in (9.0, 10.0)] == ["", "kill"]
    assert none.looks_after(0.0) == "give up"


@pytest.mark.parametrize(
    ("code", "before_it_began", "after"),
    [
        (3, "exit code 3 while loading etl.py", "(exit code 3)"),
        (-11, "killed by SIGSEGV while loading etl.py", "killed by SIGSEGV"),
        (-9, "killed by SIGKILL", "memory"),
    ],
)
def test_how_it_ended_is_told_apart(code: int, before_it_began: str, after: str) -> None:
    one = attempt()
    one.code = code

    assert before_it_began in one.failed_start()
    assert after in one.ending()


@pytest.mark.parametrize(("linger_s", "in_the_end"), [(60.0, "end"), (5.0, "end"), (0.0, "tell")])
def test_a_process_that_outlives_its_run_is_told_of_and_then_ended_unless_it_may_go_on(linger_s: float, in_the_end: str) -> None:
    one = attempt()
    one.process, one.options = SimpleNamespace(pid=7), SubprocessFlowRunner(linger_s=linger_s)
    one.goes(Phase.RUNNING)

    assert one.looks_after(1e9) == ""  # its run is not over
    one.over_s = 100.0
    assert one.looks_after(100.0 + min(LINGERS_AFTER_S, linger_s or LINGERS_AFTER_S) - 0.1) == ""
    assert one.looks_after(100.0 + LINGERS_AFTER_S) == ("end" if 0 < linger_s < LINGERS_AFTER_S else "tell")
    one.lingers = True
    assert one.looks_after(100.0 + LINGERS_AFTER_S + 1) == ("end" if 0 < linger_s < LINGERS_AFTER_S else "")
    one.lingers = False
    assert one.looks_after(200.0) == in_the_end
