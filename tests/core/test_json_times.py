"""Texts of times sort as the times do."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from legato.core.json_times import in_full
from legato.core.records import FlowRun, FlowRunPage
from legato.core.states import COMPLETED, State

INSTANTS = st.datetimes(timezones=st.just(UTC)) | st.integers(0, 2**31).map(lambda n: datetime.fromtimestamp(n, UTC))


def encoded(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(in_full(value)))


def run(at: datetime) -> FlowRun:
    state = State(COMPLETED, "Completed", at, due_at=at)
    return FlowRun(
        id="1" * 32,
        flow_name="f",
        name="n",
        state=state,
        attempt=1,
        created_at=at,
        expected_start_at=at,
        parameters={"at": "2026-01-01T00:00:00Z"},
    )


@given(INSTANTS, INSTANTS)
def test_they_sort_and_come_back(one: datetime, other: datetime) -> None:
    texts = [encoded(run(at))["created_at"] for at in (one, other)]

    assert (texts[0] < texts[1]) == (one < other)
    assert [datetime.fromisoformat(text) for text in texts] == [one, other]


@given(st.lists(INSTANTS, max_size=3))
def test_a_page_is_what_it_was(instants: list[datetime]) -> None:
    page = FlowRunPage([run(at) for at in instants])

    data = msgspec.json.encode(in_full(page))

    assert msgspec.json.decode(data, type=FlowRunPage) == page
    assert all(len(one["state"]["due_at"]) == 27 for one in encoded(page)["items"])


def test_what_users_put_in_stays() -> None:
    assert encoded(run(datetime(2026, 1, 1, tzinfo=UTC)))["parameters"] == {"at": "2026-01-01T00:00:00Z"}
