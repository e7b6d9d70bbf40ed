"""A database of many runs, made by the database itself: what lists and claims are measured on."""

from __future__ import annotations

from legato.core.records import Deployment, WorkQueue
from legato.store.sql import SqlStore
from legato.system import new_id, now

_COUNT = "with recursive c(i) as (select cast(1 as bigint) union all select i + 1 from c where i < {n})"
_FLOW_RUNS = """
insert into flow_run (id, flow_name, name, state_type, state_name, state_at, state_message, seq, attempt, created_at, expected_start_at, due_at,
 parameters, tags, trigger_text, upstream, flow_runner, host, pid, retries, on_lost, lost, deployment_id, deployment_name, epoch, ended_at,
 work_queue, agent_id, schedule_id, parent_run_id)
{count} select {id}, 'flow-' || (i % 40), 'name-' || (i * 7919 % 100000), {state}, 'x', {at}, '', 1, case when i % 50 = 0 then 0 else 1 end, {at},
 {at}, case when i % 500 = 0 then {now} - 1000000 else {now} + i * 1000000 end, '{{}}', '[]', '', '[]', 'subprocess', 'host', 0, 0, 'fail', 0,
 case when i % 50 = 0 then '{deployment}' else 'd' || (i % 3) end, case when i % 50 = 0 then 'etl/prod' end, 2, {at}, 'q' || (i % 2),
 'a' || (i / 2 % 2), 's' || (i % 3), case when i % 4 < 2 then 'p' || (i % 4) end from c
"""
_STATE = "case when i % 50 = 0 then 'scheduled' when i % 20 = 3 then 'failed' when i % 100 = 7 then 'crashed' else 'completed' end"
_TASK_RUNS = """
insert into task_run (id, flow_run, key, name, state_type, state_name, state_at, state_message, seq, attempt, flow_attempt, created_at, tags,
 upstream, retries) {count} select 'task-' || i, i % {runs} + 1, 'k', 'n', 'completed', 'Completed', i, '', 2, 1, 1, i, '[]', '[]', 0 from c
"""
_TAGS = {"prod": 2, "team": 50, "rare": 1250}
"""Tag -> every how many-th run has it."""


def seed(store: SqlStore, *, runs: int, tasks_each: int) -> None:
    """Fill an empty database: runs of 40 flows, 2 % planned (a tenth of them due), 5 % failed, three tags, and their task runs."""
    at = now()
    deployment = Deployment(id=new_id(), flow_name="etl", name="prod", entrypoint="flow.py:etl", created_at=at, updated_at=at)
    store.save_deployment(deployment)
    store.save_queue(WorkQueue(id=new_id(), name="main", created_at=at))
    us = int(at.timestamp() * 1e6)
    id_ = "'0000' || substr('00000000' || i, -8, 8)" if store.info()["kind"] == "sqlite" else "lpad(i::text, 12, '0')"
    words = {"id": id_, "state": _STATE, "at": f"{us} - i * 60000000", "now": us, "deployment": deployment.id}
    with store._database.write() as session:  # type: ignore[attr-defined]  # a benchmark may look inside
        session.run(_FLOW_RUNS.format(count=_COUNT.format(n=runs), **words))
        session.run(_TASK_RUNS.format(count=_COUNT.format(n=runs * tasks_each), runs=runs))
        for tag, every in _TAGS.items():
            session.run("insert into tag (workspace, name) values (1, :name)", name=tag)
            session.run(
                "insert into run_tag (tag, start_at, run) select t.n, r.expected_start_at, r.n from flow_run r, tag t"
                f" where t.name = :name and cast(r.id as bigint) % {every} = 0",
                name=tag,
            )
    if store.info()["kind"] == "postgres":
        import psycopg

        url = store._database._url  # type: ignore[attr-defined]  # a benchmark may look inside
        with psycopg.connect(url, autocommit=True) as connection:  # autovacuum does it within a minute; SQLite is measured without
            connection.execute("vacuum analyze")
