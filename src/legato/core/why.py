"""Why a flow run or a task run is as it is: the one place that says why something waits, was cached, skipped, tried again, late, refused,
cancelled, crashed, paused, reused, or ran again. Pure: from facts to sentences with numbers. The command line, the web UI and the Python API
say the same, because they all ask here; what is read from the store for it is in `legato.store.evidence`.
"""

from __future__ import annotations

from legato.core.explanation import Explanation, Facts
from legato.core.why_flow_runs import about_flow_run
from legato.core.why_task_runs import about_task_run


def explain(facts: Facts) -> Explanation:
    """Why the run is as it is: of the task run where there is one among the facts, else of the flow run. Never raises."""
    return about_flow_run(facts) if facts.task is None else about_task_run(facts, facts.task)
