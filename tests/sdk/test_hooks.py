"""Hooks: when they are called, with what, and what their failures do."""

import asyncio
import sys
from typing import Any

import pytest

from legato import flow, get_run_logger, task
from legato.core.errors import RunCancelled
from legato.testing import Harness

HOOKS = ("on_running", "on_completion", "on_failure", "on_retry", "on_crashed", "on_cancellation")


def recording(heard: list[tuple[str, str]]) -> dict[str, Any]:
    """Hooks of every kind that write down when they were called, and for what."""
    return {when: lambda _definition, run, state, when=when: heard.append((when, f"{run.name} {state.name}")) for when in HOOKS}


def test_hooks_are_called_for_each_state_a_task_enters(h: Harness) -> None:
    heard: list[tuple[str, str]] = []
    tries = []

    @task(retries=1, **recording(heard))
    def flaky() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("down")

    @flow
    def main() -> None:
        flaky.submit().result()

    main()
    assert heard == [
        ("on_running", "flaky-0 Running"),
        ("on_retry", "flaky-0 AwaitingRetry"),
        ("on_running", "flaky-0 Retrying"),
        ("on_completion", "flaky-0 Completed"),
    ]


def test_hooks_of_a_flow(h: Harness) -> None:
    heard: list[tuple[str, str]] = []

    @flow(flow_run_name="main", **recording(heard))
    def main(how: str) -> None:
        if how == "fail":
            raise ValueError(how)
        if how == "exit":
            sys.exit(3)
        if how == "cancel":
            raise KeyboardInterrupt

    main("complete")
    for how, error in (("fail", ValueError), ("exit", SystemExit), ("cancel", KeyboardInterrupt)):
        with pytest.raises(error):
            main(how)

    ends = [name for name in heard if name[0] != "on_running"]
    assert ends == [
        ("on_completion", "main Completed"),
        ("on_failure", "main Failed"),
        ("on_crashed", "main Crashed"),
        ("on_cancellation", "main Cancelled"),
    ]


def test_hooks_of_async_flows_and_async_hooks(h: Harness) -> None:
    heard: list[str] = []

    async def later(definition: Any, run: Any, state: Any) -> None:
        await asyncio.sleep(0)
        heard.append(f"{definition.name} {state.name}")

    @task(on_completion=later)
    async def work() -> None: ...

    @task(on_completion=[later, later])
    def plain() -> None: ...

    @flow(on_completion=later)
    async def main() -> None:
        await work()
        plain()

    asyncio.run(main())
    assert heard == ["work Completed", "plain Completed", "plain Completed", "main Completed"]


def test_a_hook_runs_after_the_state_is_recorded_and_logs_to_the_run(h: Harness) -> None:
    def look(_task: Any, run: Any, state: Any) -> None:
        get_run_logger().info("hook of %s in attempt %d", run.name, run.attempt)

    @task(on_completion=look)
    def work() -> None: ...

    @flow
    def main() -> None:
        work()

    main()
    (line,) = [line for line in h.logs() if "hook of" in line.message]
    assert (line.message, line.task_run_id) == ("hook of work-0 in attempt 1", h.task_runs()[0].id)


def test_a_failing_hook_is_tried_again_and_then_told_and_changes_nothing(h: Harness) -> None:
    calls = []

    def unlucky(*_: Any) -> None:
        calls.append(1)
        raise OSError("mail server is down")

    def once(*_: Any) -> None:
        calls.append(2)
        if calls.count(2) == 1:
            raise OSError("try again")

    @flow(on_completion=[unlucky, once])
    def main() -> int:
        return 3

    assert main() == 3
    assert calls == [1, 1, 1, 2, 2]
    messages = [line.message for line in h.logs()]
    assert "hook unlucky failed: OSError: mail server is down; given up" in messages
    assert h.flow_runs()[0].state.name == "Completed"


def test_a_skipped_or_cached_task_is_a_completed_one_to_its_hooks(h: Harness) -> None:
    heard: list[tuple[str, str]] = []

    @task(trigger="any_failed", **recording(heard))
    def rescue() -> None: ...

    @task(cache_key_fn=lambda *_: "k", **recording(heard))
    def cached() -> int:
        return 1

    @flow
    def main() -> None:
        rescue()
        cached()
        cached()

    main()
    assert [what for when, what in heard if when == "on_completion"] == ["rescue-0 Skipped", "cached-0 Completed", "cached-1 Cached"]
    assert [what for when, what in heard if when == "on_running"] == ["cached-0 Running"]


def test_the_hooks_of_a_cancelled_task(h: Harness) -> None:
    heard: list[tuple[str, str]] = []

    @task(**recording(heard))
    async def forever() -> None:
        await asyncio.sleep(3600)

    @flow
    async def main() -> None:
        running = asyncio.ensure_future(forever())
        await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises((asyncio.CancelledError, RunCancelled)):
            await running

    asyncio.run(main())
    assert heard[-1] == ("on_cancellation", "forever-0 Cancelled")
