"""What a deployed run is called: as its flow says, with its own parameters, unless a person has named it."""

import pytest

from tests.agent.conftest import Workplace

NAMED = """
from legato import runtime
def by_hand():
    return "called-" + str(len("abc"))
def broken():
    raise OSError("no names today")
@flow(flow_run_name=NAME)
def main(month: int = 1, kind: str = "green"):
    return runtime.flow_run.name
"""


@pytest.mark.parametrize(
    ("template", "name"),
    [("'{flow_name}-{month}-{kind}'", "main-3-green"), ("by_hand", "called-3"), ("'fixed'", "fixed"), ("'{month:02d}'", "03")],
)
def test_it_is_called_what_the_flow_says_from_its_beginning(place: Workplace, template: str, name: str) -> None:
    run_id = place.schedule(place.deploy(NAMED.replace("NAME", template)), month=3)
    planned = place.run(run_id).name
    place.agent(once=True)
    ended = place.ended(run_id)

    assert planned != name
    assert (ended.name, ended.state.name) == (name, "Completed")
    assert ended.result is not None
    assert name in ended.result.preview


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("'{mnth}'", "flow_run_name '{mnth}' cannot be filled: 'mnth'"),
        ("'{month:%Y}'", "flow_run_name raised ValueError"),
        ("broken", "flow_run_name raised OSError: no names today"),
    ],
)
def test_one_that_cannot_be_filled_is_told_and_the_run_goes_on(place: Workplace, template: str, why: str) -> None:
    run_id = place.schedule(place.deploy(NAMED.replace("NAME", template)), month=3)
    planned = place.run(run_id).name
    place.agent(once=True)
    ended = place.ended(run_id)

    assert (ended.name, ended.state.name) == (planned, "Completed")
    (line,) = (line for line in place.store.read_logs(run_id) if "flow_run_name" in line.message)
    assert why in line.message
    assert line.message.endswith(f"the run keeps the name '{planned}'")


def test_a_name_that_a_person_gave_is_kept(place: Workplace) -> None:
    run_id = place.schedule(place.deploy(NAMED.replace("NAME", "'fixed'")), name="mine")
    place.agent(once=True)

    assert place.ended(run_id).name == "mine"
