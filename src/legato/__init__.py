"""Legato: plain Python functions, tied into workflows that keep going when the world does not.

Everything a user may import stands here, and is loaded when it is first asked for. Where it lives inside is ours to change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

_HOMES = {
    "CacheKeyFn": "legato.core.caching",
    "CachePolicy": "legato.core.caching",
    "Cancelled": "legato.sdk.run_states",
    "Completed": "legato.sdk.run_states",
    "ConcurrentTaskRunner": "legato.task_runners.threads",
    "Crashed": "legato.sdk.run_states",
    "CronSchedule": "legato.core.schedules",
    "DEFAULT": "legato.core.caching",
    "DaskTaskRunner": "legato.task_runners.dask",
    "Deployment": "legato.sdk.deployments",
    "Explanation": "legato.core.explanation",
    "FILES": "legato.core.caching",
    "Failed": "legato.sdk.run_states",
    "Flow": "legato.sdk.flows",
    "Future": "legato.engine.futures",
    "INPUTS": "legato.core.caching",
    "IntervalSchedule": "legato.core.schedules",
    "NONE": "legato.core.caching",
    "PARAMETERS": "legato.core.caching",
    "Paused": "legato.sdk.run_states",
    "Pending": "legato.sdk.run_states",
    "Plan": "legato.core.graph",
    "ProcessTaskRunner": "legato.task_runners.processes",
    "RRuleSchedule": "legato.core.schedules",
    "RUN": "legato.core.caching",
    "RayTaskRunner": "legato.task_runners.ray",
    "RunState": "legato.sdk.run_states",
    "Running": "legato.sdk.run_states",
    "SOURCE": "legato.core.caching",
    "Scheduled": "legato.sdk.run_states",
    "SequentialTaskRunner": "legato.task_runners.sequential",
    "SubprocessFlowRunner": "legato.flow_runners.options",
    "TASK": "legato.core.caching",
    "Task": "legato.sdk.tasks",
    "ThreadTaskRunner": "legato.task_runners.threads",
    "Upstream": "legato.core.triggers",
    "Variable": "legato.sdk.variables",
    "all_done": "legato.core.triggers",
    "all_failed": "legato.core.triggers",
    "all_succeeded": "legato.core.triggers",
    "allow_failure": "legato.sdk.wrappers",
    "any_failed": "legato.core.triggers",
    "any_succeeded": "legato.core.triggers",
    "as_completed": "legato.engine.futures",
    "create_image_artifact": "legato.sdk.artifacts",
    "create_link_artifact": "legato.sdk.artifacts",
    "create_markdown_artifact": "legato.sdk.artifacts",
    "create_progress_artifact": "legato.sdk.artifacts",
    "create_table_artifact": "legato.sdk.artifacts",
    "explain": "legato.sdk.explaining",
    "exponential_backoff": "legato.core.retry",
    "flow": "legato.sdk.flows",
    "get_run_logger": "legato.sdk.logging",
    "none_failed": "legato.core.triggers",
    "pause_flow_run": "legato.sdk.asking",
    "propagate_context": "legato.engine.own_threads",
    "quote": "legato.sdk.wrappers",
    "read_result": "legato.sdk.reading",
    "runtime": "legato.sdk.runtime",
    "suspend_flow_run": "legato.sdk.asking",
    "tags": "legato.sdk.definitions",
    "task": "legato.sdk.tasks",
    "task_input_hash": "legato.sdk.caching",
    "track": "legato.sdk.artifacts",
    "transaction": "legato.sdk.transactions",
    "unmapped": "legato.sdk.wrappers",
    "update_progress_artifact": "legato.sdk.artifacts",
    "wait": "legato.engine.futures",
}
"""Public name -> module. The list is compared by a test, and each name has its page in the reference."""

if TYPE_CHECKING:
    from legato.core.caching import DEFAULT as DEFAULT
    from legato.core.caching import FILES as FILES
    from legato.core.caching import INPUTS as INPUTS
    from legato.core.caching import NONE as NONE
    from legato.core.caching import PARAMETERS as PARAMETERS
    from legato.core.caching import RUN as RUN
    from legato.core.caching import SOURCE as SOURCE
    from legato.core.caching import TASK as TASK
    from legato.core.caching import CacheKeyFn as CacheKeyFn
    from legato.core.caching import CachePolicy as CachePolicy
    from legato.core.explanation import Explanation as Explanation
    from legato.core.graph import Plan as Plan
    from legato.core.retry import exponential_backoff as exponential_backoff
    from legato.core.schedules import CronSchedule as CronSchedule
    from legato.core.schedules import IntervalSchedule as IntervalSchedule
    from legato.core.schedules import RRuleSchedule as RRuleSchedule
    from legato.core.triggers import Upstream as Upstream
    from legato.core.triggers import all_done as all_done
    from legato.core.triggers import all_failed as all_failed
    from legato.core.triggers import all_succeeded as all_succeeded
    from legato.core.triggers import any_failed as any_failed
    from legato.core.triggers import any_succeeded as any_succeeded
    from legato.core.triggers import none_failed as none_failed
    from legato.engine.futures import Future as Future
    from legato.engine.futures import as_completed as as_completed
    from legato.engine.futures import wait as wait
    from legato.engine.own_threads import propagate_context as propagate_context
    from legato.flow_runners.options import SubprocessFlowRunner as SubprocessFlowRunner
    from legato.sdk import runtime as runtime
    from legato.sdk.artifacts import create_image_artifact as create_image_artifact
    from legato.sdk.artifacts import create_link_artifact as create_link_artifact
    from legato.sdk.artifacts import create_markdown_artifact as create_markdown_artifact
    from legato.sdk.artifacts import create_progress_artifact as create_progress_artifact
    from legato.sdk.artifacts import create_table_artifact as create_table_artifact
    from legato.sdk.artifacts import track as track
    from legato.sdk.artifacts import update_progress_artifact as update_progress_artifact
    from legato.sdk.asking import pause_flow_run as pause_flow_run
    from legato.sdk.asking import suspend_flow_run as suspend_flow_run
    from legato.sdk.caching import task_input_hash as task_input_hash
    from legato.sdk.definitions import tags as tags
    from legato.sdk.deployments import Deployment as Deployment
    from legato.sdk.explaining import explain as explain
    from legato.sdk.flows import Flow as Flow
    from legato.sdk.flows import flow as flow
    from legato.sdk.logging import get_run_logger as get_run_logger
    from legato.sdk.reading import read_result as read_result
    from legato.sdk.run_states import Cancelled as Cancelled
    from legato.sdk.run_states import Completed as Completed
    from legato.sdk.run_states import Crashed as Crashed
    from legato.sdk.run_states import Failed as Failed
    from legato.sdk.run_states import Paused as Paused
    from legato.sdk.run_states import Pending as Pending
    from legato.sdk.run_states import Running as Running
    from legato.sdk.run_states import RunState as RunState
    from legato.sdk.run_states import Scheduled as Scheduled
    from legato.sdk.tasks import Task as Task
    from legato.sdk.tasks import task as task
    from legato.sdk.transactions import transaction as transaction
    from legato.sdk.variables import Variable as Variable
    from legato.sdk.wrappers import allow_failure as allow_failure
    from legato.sdk.wrappers import quote as quote
    from legato.sdk.wrappers import unmapped as unmapped
    from legato.task_runners.dask import DaskTaskRunner as DaskTaskRunner
    from legato.task_runners.processes import ProcessTaskRunner as ProcessTaskRunner
    from legato.task_runners.ray import RayTaskRunner as RayTaskRunner
    from legato.task_runners.sequential import SequentialTaskRunner as SequentialTaskRunner
    from legato.task_runners.threads import ConcurrentTaskRunner as ConcurrentTaskRunner
    from legato.task_runners.threads import ThreadTaskRunner as ThreadTaskRunner

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 the names are strings


if not TYPE_CHECKING:  # or type checkers would believe in every name

    def __getattr__(name: str) -> Any:
        home = _HOMES.get(name)
        if home is None:
            raise _no_name(name)
        import importlib  # noqa: PLC0415 start-up time: `from legato import flow` loads one module

        module = importlib.import_module(home)
        value = module if home.endswith(f".{name}") and not hasattr(module, name) else getattr(module, name)
        globals()[name] = value
        return value


def _no_name(name: str) -> Exception:
    """The error for a name that is not here, which says what does the same if it is one of another system."""
    from legato.core.foreign_words import NAMES  # noqa: PLC0415 start-up time: wanted when something is wrong

    if name in NAMES:  # `from legato import …` shows the words of an ImportError only
        return ImportError(f"legato has no '{name}': {NAMES[name]}", name="legato")
    return AttributeError(f"module 'legato' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
