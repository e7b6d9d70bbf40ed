"""Log lines: order, filters, paging, and text that is hard to store."""

from legato.core.records import LogLine
from legato.store.port import Store

from tests.store.make import at, begin


def line(run_id: str, message: str, level: int = 20, *, task: str | None = None, seconds: float = 0) -> LogLine:
    return LogLine(run_id, at(seconds), level, "legato.flow", message, task_run_id=task)


def messages(lines: list[LogLine]) -> list[str]:
    return [each.message for each in lines]


def test_lines_come_back_in_the_order_they_were_written_and_can_be_read_on(store: Store) -> None:
    run, other = begin(store), begin(store)
    store.apply([], [line(run.id, f"line {i}") for i in range(5)], now=at(0))
    store.apply([], [line(other.id, "not mine"), line(run.id, "line 5")], now=at(0))

    first = store.read_logs(run.id, limit=4)
    rest = store.read_logs(run.id, after=first[-1].n)

    assert messages(first + rest) == [f"line {i}" for i in range(6)]
    assert first[0] == LogLine(run.id, at(0), 20, "legato.flow", "line 0", None, first[0].n)


def test_lines_are_filtered_by_task_level_and_text(store: Store) -> None:
    run = begin(store)
    store.apply(
        [], [line(run.id, "Loading", 10), line(run.id, "100% DONE", 40, task="t1"), line(run.id, "slow_er", 30, task="t2")], now=at(0)
    )

    assert messages(store.read_logs(run.id, task_run_id="t1")) == ["100% DONE"]
    assert messages(store.read_logs(run.id, min_level=30)) == ["100% DONE", "slow_er"]
    assert messages(store.read_logs(run.id, text="done")) == ["100% DONE"]
    assert messages(store.read_logs(run.id, text="%")) == ["100% DONE"]
    assert messages(store.read_logs(run.id, text="_")) == ["slow_er"]


def test_lines_are_counted_by_run(store: Store) -> None:
    run, quiet = begin(store), begin(store)
    store.apply([], [line(run.id, "a", level) for level in (10, 20, 30, 30, 40, 50)], now=at(0))

    assert store.count_logs([run.id, quiet.id]) == {run.id: (6, 2, 2)}


def test_nul_and_characters_beyond_the_first_plane_do_no_harm(store: Store) -> None:
    run = begin(store)

    store.apply([], [line(run.id, "a\0b \U0001f3bb \u00e9 \udc80"), line(run.id, "x" * 100_000)], now=at(0))

    first, second = store.read_logs(run.id)
    assert first.message == "a\\0b \U0001f3bb \u00e9 \\udc80"
    assert len(second.message) == 100_000
