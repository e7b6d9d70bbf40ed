"""Transactions: what is undone, in which order, what is done once, and what becomes of hooks that fail."""

import asyncio
import threading
from typing import Any

import pytest

from legato import INPUTS, flow, task, transaction
from legato.core.errors import RunCancelled, UpstreamFailed, UsageError
from legato.testing import Harness

from tests.support.waiting import until


class Book:
    """What tasks and hooks wrote, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

        @task
        def write(name: str) -> str:
            self.lines.append(f"write {name}")
            return name

        @write.on_commit
        def publish(txn: Any) -> None:
            self.lines.append("commit")

        @write.on_rollback
        def remove(txn: Any) -> None:
            self.lines.append(f"undo {txn.get('name', '')}".strip())

        @task
        def fail() -> None:
            self.lines.append("fail")
            raise ValueError("no luck")

        @fail.on_rollback
        def clean(txn: Any) -> None:
            self.lines.append("clean")

        self.write, self.fail = write, fail


@pytest.fixture
def book() -> Book:
    return Book()


def test_a_block_that_succeeds_calls_the_commit_hooks_at_its_end(h: Harness, book: Book) -> None:
    @flow
    def main() -> tuple[bool, bool]:
        with transaction() as txn:
            book.write("a")
            book.write("b")
            book.lines.append("end")
            before = txn.is_committed()
        return before, txn.is_committed()

    assert main() == (False, True)
    assert book.lines == ["write a", "write b", "end", "commit", "commit"]


def test_a_block_that_raises_calls_the_rollback_hooks_in_reverse_also_of_the_task_that_failed(h: Harness, book: Book) -> None:
    @flow
    def main() -> None:
        with transaction() as txn:
            txn.set("name", "a")
            book.write("a")
            book.fail()

    with pytest.raises(ValueError, match="no luck"):
        main()
    assert book.lines == ["write a", "fail", "clean", "undo a"]
    assert h.flow_runs()[0].state.name == "Failed"


def test_outside_a_transaction_the_hooks_are_not_called(h: Harness, book: Book) -> None:
    @flow
    def main() -> str:
        with transaction():
            pass
        return str(book.write("a"))

    assert main() == "a"
    assert book.lines == ["write a"]


def test_a_failed_task_whose_error_was_caught_is_not_committed_and_nothing_is_undone(h: Harness, book: Book) -> None:
    @flow
    def main() -> None:
        with transaction():
            book.write("a")
            with pytest.raises(ValueError, match="no luck"):
                book.fail()

    main()
    assert book.lines == ["write a", "fail", "commit"]


def test_inner_blocks_commit_with_the_outermost_and_are_undone_with_it(h: Harness, book: Book) -> None:
    @flow
    def main(fails: bool) -> None:
        with transaction() as outer:
            outer.set("name", "x")
            book.write("a")
            with transaction() as inner:
                book.write("b")
            book.lines.append(f"inner done {inner.is_committed()}")
            if fails:
                raise KeyError("late")

    main(False)
    assert book.lines == ["write a", "write b", "inner done False", "commit", "commit"]
    book.lines.clear()
    with pytest.raises(KeyError):
        main(True)
    assert book.lines == ["write a", "write b", "inner done False", "undo x", "undo x"]


def test_an_inner_block_is_undone_alone_when_its_error_is_caught(h: Harness, book: Book) -> None:
    @flow
    def main() -> bool:
        with transaction():
            book.write("a")
            try:
                with transaction() as inner:
                    book.write("b")
                    raise KeyError("caught")
            except KeyError:
                pass
        return inner.is_rolled_back()

    assert main()
    assert book.lines == ["write a", "write b", "undo", "commit"]


def test_a_hook_that_fails_is_told_and_stops_no_other(h: Harness, book: Book) -> None:
    @book.write.on_rollback
    def broken(txn: Any) -> None:
        raise OSError("disk gone")

    @flow
    def main() -> None:
        with transaction():
            book.write("a")
            book.write("b")
            raise KeyError("why")

    with pytest.raises(KeyError):
        main()
    assert book.lines == ["write a", "write b", "undo", "undo"]
    told = [line.message for line in h.logs() if line.logger == "legato.transactions"]
    assert told == [f"hook broken of task run 'write-{n}' failed: OSError: disk gone" for n in (1, 0)]


def test_the_block_waits_for_what_it_submitted_and_is_undone_when_that_fails_unseen(h: Harness, book: Book) -> None:
    @flow
    def main() -> None:
        with transaction():
            first = book.write.submit("a")
            book.fail.submit(wait_for=[first])

    with pytest.raises(UpstreamFailed, match="'fail-0' did not complete: ValueError: no luck"):
        main()
    assert book.lines == ["write a", "fail", "clean", "undo"]


def test_a_task_answered_from_the_cache_did_nothing_and_is_not_undone(h: Harness) -> None:
    undone: list[str] = []

    @task(cache_policy=INPUTS, on_rollback=lambda _txn: undone.append("undo"))
    def once(x: int) -> int:
        return x

    @flow
    def main() -> None:
        with transaction():
            once(1)
            raise KeyError("why")

    for _ in range(2):
        with pytest.raises(KeyError):
            main()
    assert undone == ["undo"]


def test_hooks_stay_with_a_task_that_is_given_other_options(h: Harness, book: Book) -> None:
    @flow
    def main() -> None:
        with transaction():
            book.write.with_options(retries=1)("a")

    main()
    assert book.lines == ["write a", "commit"]


def test_cancelling_undoes(h: Harness, book: Book) -> None:
    @flow
    def main() -> None:
        with transaction():
            book.write("a")
            threading.Event().wait(30)

    canceller = threading.Thread(target=lambda: (until(lambda: book.lines, what="the write"), h.store.request_cancel(h.flow_runs()[0].id)))
    canceller.start()
    with pytest.raises(RunCancelled):
        main()
    canceller.join(30)

    assert book.lines == ["write a", "undo"]
    assert h.flow_runs()[0].state.name == "Cancelled"


def test_values_are_found_in_the_blocks_around_and_a_missing_one_is_named(h: Harness) -> None:
    @flow
    def main() -> tuple[Any, ...]:
        with transaction() as outer:
            outer.set("a", 1)
            with transaction() as inner:
                inner.set("b", 2)
                seen = inner.get("a"), inner.get("b"), inner.get("c", 3), outer.get("b", None)
                with pytest.raises(UsageError, match="the transaction has no value 'z'"):
                    inner.get("z")
        return seen

    assert main() == (1, 2, 3, None)


# -- with a key


def test_a_block_with_a_key_is_done_once_and_its_values_are_there_the_next_time(h: Harness, book: Book) -> None:
    @flow
    def main() -> Any:
        with transaction(key="import-2026-01") as txn:
            if not txn.is_committed():
                book.write("a")
                txn.set("rows", (1, 2))
            return txn.get("rows")

    assert [main(), main()] == [(1, 2), (1, 2)]
    assert book.lines == ["write a", "commit"]
    first, second = h.flow_runs()
    assert {run.name: run.state.name for run in h.task_runs(first)} == {"transaction import-2026-01": "Completed", "write-0": "Completed"}
    (found,) = h.task_runs(second)
    assert (found.name, found.state.name) == ("transaction import-2026-01", "Cached")


def test_a_block_with_a_key_that_failed_is_done_again(h: Harness, book: Book) -> None:
    @flow
    def main(fails: bool) -> bool:
        with transaction(key="k") as txn:
            was = txn.is_committed()
            book.write("a")
            if fails:
                raise KeyError("why")
        return was

    with pytest.raises(KeyError):
        main(True)
    assert main(False) is False
    assert main(False) is True
    assert h.task_runs()[0].state.message == "rolled back: KeyError: 'why'"


def test_an_inner_key_is_committed_with_the_outermost_only(h: Harness) -> None:
    @flow
    def main(fails: bool) -> bool:
        with transaction():
            with transaction(key="inner") as inner:
                was = inner.is_committed()
            if fails:
                raise KeyError("why")
        return was

    with pytest.raises(KeyError):
        main(True)
    assert [main(False), main(False)] == [False, True]


def test_of_two_runs_at_once_one_does_it_and_the_other_finds_it_done(h: Harness) -> None:
    inside, seen = threading.Event(), []

    @flow
    def main() -> None:
        with transaction(key="once") as txn:
            seen.append(txn.is_committed())
            if not txn.is_committed():
                inside.set()
                until(lambda: any(t.state.name == "Scheduled" for r in h.flow_runs() for t in h.task_runs(r)), what="the other's wait")

    first = threading.Thread(target=main)
    first.start()
    assert inside.wait(30)
    main()
    first.join(30)

    assert seen == [False, True]


def test_the_same_key_inside_itself_does_not_wait_for_itself(h: Harness) -> None:
    @flow
    def main() -> str:
        with transaction(key="k"), transaction(key="k"):
            return "done"

    assert main() == "done"


def test_a_key_outside_a_flow_is_refused() -> None:
    with pytest.raises(UsageError, match=r"transaction\(key='k'\) was opened outside a flow"), transaction(key="k"):
        pass


def test_values_that_cannot_be_kept_are_told_and_the_commit_counts(h: Harness) -> None:
    @flow
    def main() -> bool:
        with transaction(key="k") as txn:
            was = txn.is_committed()
            txn.set("lock", threading.Lock())
        return was

    assert [main(), main()] == [False, True]
    assert "the values of transaction 'k' are not kept" in " ".join(line.message for line in h.logs())


# -- async


def test_async_blocks_await_their_hooks_and_undo_in_reverse(h: Harness) -> None:
    lines: list[str] = []

    @task
    async def write(name: str) -> str:
        await asyncio.sleep(0)
        lines.append(f"write {name}")
        return name

    @write.on_rollback
    async def undo(txn: Any) -> None:
        await asyncio.sleep(0)
        lines.append(f"undo {txn.get('n')}")

    @write.on_commit
    async def commit(txn: Any) -> None:
        lines.append("commit")

    @flow
    async def main(fails: bool) -> bool:
        async with transaction(key="k") as txn:
            txn.set("n", 5)
            await write("a")
            write.submit("b")
            if fails:
                raise KeyError("why")
        return txn.is_committed()

    with pytest.raises(KeyError):
        asyncio.run(main(True))
    assert lines == ["write a", "write b", "undo 5", "undo 5"]
    lines.clear()
    assert asyncio.run(main(False))
    assert lines == ["write a", "write b", "commit", "commit"]


def test_an_async_hook_of_a_sync_block_is_run_to_its_end(h: Harness) -> None:
    lines: list[str] = []

    async def later(txn: Any) -> None:
        await asyncio.sleep(0)
        lines.append("commit")

    @task(on_commit=later)
    def step() -> None: ...

    @flow
    def main() -> None:
        with transaction():
            step()

    main()
    assert lines == ["commit"]


@pytest.mark.parametrize(("one", "other"), [("", " "), ("k" * 700 + "1", "k" * 700 + "2"), ("report-\udcff", "report-\\udcff")])
def test_a_block_is_done_once_a_key_however_alike_the_keys_are(h: Harness, one: str, other: str) -> None:
    done = []

    @flow
    def main() -> None:
        for key in (one, other, one, other):
            with transaction(key=key) as txn:
                if not txn.is_committed():
                    done.append(key)

    main()

    assert done == [one, other]
