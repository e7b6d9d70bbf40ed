"""Which flow run is meant: the same answer to commands, pages and Python."""

import pytest

from legato.core.errors import NotFound, UsageError
from legato.store.finding import SHORTEST_PREFIX, find_flow_run, runs_meant
from legato.store.port import Store

from tests.store.make import begin


def test_a_run_is_meant_by_its_id_its_name_or_the_beginning_of_its_id(store: Store) -> None:
    one, other = begin(store, name="brisk-otter"), begin(store, name="brisk-otters")

    for text in (one.id, "brisk-otter", one.id[:-1]):
        assert find_flow_run(store, text).id == one.id
    assert find_flow_run(store, "brisk-otters").id == other.id


def test_of_one_name_all_are_meant_and_none_is_chosen(store: Store) -> None:
    runs = [begin(store, seconds, name="twin") for seconds in range(3)]

    assert {run.id for run in runs_meant(store, "twin")} == {run.id for run in runs}
    with pytest.raises(UsageError, match="could be any of these runs"):
        find_flow_run(store, "twin")


def test_a_name_goes_before_an_id_that_begins_so(store: Store) -> None:
    first = begin(store)
    named = begin(store, name=first.id[:8])

    assert find_flow_run(store, first.id[:8]).id == named.id


@pytest.mark.parametrize("text", ["nobody", "", "ffffffff", "01a2g", "-", "01a21e2f-0000-7000-8000-000000000000"])
def test_what_nobody_has_is_not_found(store: Store, text: str) -> None:
    run = begin(store)

    with pytest.raises(NotFound):
        find_flow_run(store, text)
    with pytest.raises(NotFound):
        find_flow_run(store, run.id[: SHORTEST_PREFIX - 1])
