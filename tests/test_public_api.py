"""What users may import is a list; each name on it works, and is on the reference page."""

from pathlib import Path

import legato

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "api.md"

NAMES = [
    "CacheKeyFn",
    "CachePolicy",
    "Cancelled",
    "Completed",
    "ConcurrentTaskRunner",
    "Crashed",
    "CronSchedule",
    "DEFAULT",
    "DaskTaskRunner",
    "Deployment",
    "Explanation",
    "FILES",
    "Failed",
    "Flow",
    "Future",
    "INPUTS",
    "IntervalSchedule",
    "NONE",
    "PARAMETERS",
    "Paused",
    "Pending",
    "Plan",
    "ProcessTaskRunner",
    "RRuleSchedule",
    "RUN",
    "RayTaskRunner",
    "RunState",
    "Running",
    "SOURCE",
    "Scheduled",
    "SequentialTaskRunner",
    "SubprocessFlowRunner",
    "TASK",
    "Task",
    "ThreadTaskRunner",
    "Upstream",
    "Variable",
    "all_done",
    "all_failed",
    "all_succeeded",
    "allow_failure",
    "any_failed",
    "any_succeeded",
    "as_completed",
    "create_image_artifact",
    "create_link_artifact",
    "create_markdown_artifact",
    "create_progress_artifact",
    "create_table_artifact",
    "explain",
    "exponential_backoff",
    "flow",
    "get_run_logger",
    "none_failed",
    "pause_flow_run",
    "propagate_context",
    "quote",
    "read_result",
    "runtime",
    "suspend_flow_run",
    "tags",
    "task",
    "task_input_hash",
    "track",
    "transaction",
    "unmapped",
    "update_progress_artifact",
    "wait",
]


def test_the_public_names_are_these() -> None:
    assert sorted(name for name in legato.__all__ if name != "__version__") == sorted(NAMES)


def test_every_public_name_can_be_had_and_has_a_docstring() -> None:
    for name in NAMES:
        assert getattr(legato, name).__doc__, name


def test_every_public_name_is_on_the_reference_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in NAMES if f"`{name}`" not in text] == []
