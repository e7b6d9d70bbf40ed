"""`legato limit`: what is printed, changed and refused. In process, on the embedded store."""

import json

import pytest

from legato.core.records import ClaimRequest, Deployment, FlowRun, WorkQueue
from legato.core.states import SCHEDULED, State
from legato.store.port import Store
from legato.system import SystemClock, new_id

from tests.cli.conftest import Command


def hand_over(store: Store, *tags: str, limit: int | None = None) -> FlowRun:
    """A deployment's run that an agent holds."""
    now = SystemClock().now()
    store.save_queue(WorkQueue(id=new_id(), name="main", created_at=now))
    deployment = Deployment(
        id=new_id(), flow_name="etl", name="prod", entrypoint="a.py:etl", created_at=now, updated_at=now, concurrency_limit=limit
    )
    store.save_deployment(deployment)
    run = FlowRun(
        id=new_id(),
        flow_name="etl",
        name="amber-heron",
        state=State(SCHEDULED, "Scheduled", now, due_at=now),
        created_at=now,
        expected_start_at=now,
        due_at=now,
        tags=tags,
        deployment_id=deployment.id,
        deployment_name=deployment.full_name,
    )
    store.create_flow_run(run)
    (claimed,) = store.claim_runs(ClaimRequest(agent_id="a", queues=("main",)))
    return claimed.flow_run


@pytest.mark.parametrize("tag", ["gpu", "team/big gpu", "50%", "zürich"])
def test_a_limit_is_set_shown_listed_set_anew_and_lifted(legato: Command, store: Store, tag: str) -> None:
    hand_over(store, tag)

    assert f"At most 2 runs with tag '{tag}' at once" in legato("limit", "create", tag, "2").err
    assert legato("limits", "ls").out.splitlines()[1:] == [f"{tag}\t\t1/2"]
    assert "amber-heron (etl)" in legato("limit", "show", tag).out
    assert legato("limit", "create", tag, "0").code == 0
    assert json.loads(legato("limit", "show", tag, "-o", "json").out) == {"size": 0, "running": 1, "tag": tag}
    assert legato("limit", "rm", tag, "--yes").code == 0
    assert store.list_limits() == []


def test_a_deployments_limit_is_shown_and_stands_in_its_file(legato: Command, store: Store) -> None:
    hand_over(store, limit=3)

    assert legato("limit", "ls").out.splitlines()[1:] == ["\tetl/prod\t1/3"]
    assert "amber-heron (etl)" in legato("limit", "show", "etl/prod").out
    refused = legato("limit", "rm", "etl/prod", "--yes")
    assert refused.code == 2
    assert "deploy again" in refused.err


@pytest.mark.parametrize(
    ("line", "code"), [(("show", "nobody"), 3), (("rm", "nobody", "--yes"), 3), (("create", "gpu", "-1"), 2), (("create", "", "1"), 2)]
)
def test_what_is_not_there_or_makes_no_sense_is_refused(legato: Command, line: tuple[str, ...], code: int) -> None:
    assert legato("limit", *line).code == code


def test_words_of_other_systems_lead_here(legato: Command, store: Store) -> None:
    assert legato("concurrency-limit", "create", "gpu", "2").code == 0
    assert "0/2" in legato("concurrency-limits", "list").out
    assert legato("concurrency-limit", "inspect", "gpu").code == 0
    assert "lease" in legato("concurrency-limit", "reset", "gpu").err
    assert legato("concurrency-limit", "delete", "gpu", "-y").code == 0
    assert store.list_limits() == []
