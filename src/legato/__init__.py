"""Legato: plain Python functions, tied into workflows that keep going when the world does not.

Everything a user may import stands here, and is loaded when it is first asked for. Where it lives inside is ours to change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

_HOMES = {
    "CacheKeyFn": "legato.core.caching",
    "CachePolicy": "legato.core.caching",
    "ConcurrentTaskRunner": "legato.task_runners.threads",
    "CronSchedule": "legato.core.schedules",
    "DEFAULT": "legato.core.caching",
    "DaskTaskRunner": "legato.task_runners.dask",
    "Deployment": "legato.sdk.deployments",
    "Flow": "legato.sdk.flows",
    "Future": "legato.engine.futures",
    "INPUTS": "legato.core.caching",
    "IntervalSchedule": "legato.core.schedules",
    "NONE": "legato.core.caching",
    "PARAMETERS": "legato.core.caching",
    "ProcessTaskRunner": "legato.task_runners.processes",
    "RRuleSchedule": "legato.core.schedules",
    "RUN": "legato.core.caching",
    "RayTaskRunner": "legato.task_runners.ray",
    "SOURCE": "legato.core.caching",
    "SequentialTaskRunner": "legato.task_runners.sequential",
    "SubprocessFlowRunner": "legato.flow_runners.options",
    "TASK": "legato.core.caching",
    "Task": "legato.sdk.tasks",
    "ThreadTaskRunner": "legato.task_runners.threads",
    "Variable": "legato.sdk.variables",
    "allow_failure": "legato.sdk.definitions",
    "create_image_artifact": "legato.sdk.artifacts",
    "create_link_artifact": "legato.sdk.artifacts",
    "create_markdown_artifact": "legato.sdk.artifacts",
    "create_progress_artifact": "legato.sdk.artifacts",
    "create_table_artifact": "legato.sdk.artifacts",
    "exponential_backoff": "legato.core.retry",
    "flow": "legato.sdk.flows",
    "get_run_logger": "legato.sdk.logging",
    "task": "legato.sdk.tasks",
    "task_input_hash": "legato.sdk.calls",
    "track": "legato.sdk.artifacts",
    "unmapped": "legato.sdk.definitions",
    "update_progress_artifact": "legato.sdk.artifacts",
}
"""Public name -> module. The list is compared by a test, and each name has its page in the reference."""

if TYPE_CHECKING:
    from legato.core.caching import DEFAULT as DEFAULT
    from legato.core.caching import INPUTS as INPUTS
    from legato.core.caching import NONE as NONE
    from legato.core.caching import PARAMETERS as PARAMETERS
    from legato.core.caching import RUN as RUN
    from legato.core.caching import SOURCE as SOURCE
    from legato.core.caching import TASK as TASK
    from legato.core.caching import CacheKeyFn as CacheKeyFn
    from legato.core.caching import CachePolicy as CachePolicy
    from legato.core.retry import exponential_backoff as exponential_backoff
    from legato.core.schedules import CronSchedule as CronSchedule
    from legato.core.schedules import IntervalSchedule as IntervalSchedule
    from legato.core.schedules import RRuleSchedule as RRuleSchedule
    from legato.engine.futures import Future as Future
    from legato.flow_runners.options import SubprocessFlowRunner as SubprocessFlowRunner
    from legato.sdk.artifacts import create_image_artifact as create_image_artifact
    from legato.sdk.artifacts import create_link_artifact as create_link_artifact
    from legato.sdk.artifacts import create_markdown_artifact as create_markdown_artifact
    from legato.sdk.artifacts import create_progress_artifact as create_progress_artifact
    from legato.sdk.artifacts import create_table_artifact as create_table_artifact
    from legato.sdk.artifacts import track as track
    from legato.sdk.artifacts import update_progress_artifact as update_progress_artifact
    from legato.sdk.calls import task_input_hash as task_input_hash
    from legato.sdk.definitions import allow_failure as allow_failure
    from legato.sdk.definitions import unmapped as unmapped
    from legato.sdk.deployments import Deployment as Deployment
    from legato.sdk.flows import Flow as Flow
    from legato.sdk.flows import flow as flow
    from legato.sdk.logging import get_run_logger as get_run_logger
    from legato.sdk.tasks import Task as Task
    from legato.sdk.tasks import task as task
    from legato.sdk.variables import Variable as Variable
    from legato.task_runners.dask import DaskTaskRunner as DaskTaskRunner
    from legato.task_runners.processes import ProcessTaskRunner as ProcessTaskRunner
    from legato.task_runners.ray import RayTaskRunner as RayTaskRunner
    from legato.task_runners.sequential import SequentialTaskRunner as SequentialTaskRunner
    from legato.task_runners.threads import ConcurrentTaskRunner as ConcurrentTaskRunner
    from legato.task_runners.threads import ThreadTaskRunner as ThreadTaskRunner

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 the names are strings


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'legato' has no attribute '{name}'")
    import importlib  # noqa: PLC0415 start-up time: `from legato import flow` loads one module

    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
