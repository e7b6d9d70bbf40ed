"""Every named statement goes by the index that its comment names, on both databases, whether or not they were ever analysed."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from legato.core.records import FlowRunFilter, QueueFilter
from legato.core.states import FAILED
from legato.store import database, lists
from legato.store.open import open_sql_store
from legato.store.sql import SqlStore, statements
from legato.store.sqlite_session import translated as for_sqlite

LARGE = ("flow_run", "task_run", "journal", "log", "run_tag", "tick")
"""Tables that no statement may walk from end to end."""
WALKS = {
    "journal_position": "the last row of the primary key",
    "prune_batches": "a range of an index",
    "texts_with_keys": "what is still named by any run, before what is not is removed",
}
ONLY_POSTGRES = {"beats", *(name for name in statements() if name.endswith("_postgres"))}
ONLY_SQLITE = {name for name in statements() if name.endswith("_sqlite")}
RUNS, TASKS_EACH = (100_000, 10) if os.environ.get("LEGATO_LONG_TESTS") else (3_000, 4)


def promised() -> dict[str, list[str]]:
    """Statement -> the indexes that its comment names."""
    found = {}
    for file in sorted((Path(database.__file__).parent / "statements").glob("*.sql")):
        for name, comment in re.findall(r"^-- (\w+):((?:.*\n)(?:--.*\n)*)", file.read_text(), re.MULTILINE):
            if "index: " in comment:
                found[name] = [each.strip(" .\n") for each in comment.partition("index: ")[2].split(",")]
    return found


PROMISED = promised()

SEED = """
with recursive c(i) as (select 1 union all select i + 1 from c where i < {runs})
insert into flow_run (id, flow_name, name, state_type, state_name, state_at, state_message, seq, attempt, created_at, expected_start_at, due_at,
 parameters, tags, trigger_text, upstream, flow_runner, host, pid, retries, on_lost, lost, deployment_id, schedule_id, work_queue, agent_id,
 lease_expires_at, ended_at, epoch, parent_run_id)
select 'run-' || i, 'flow-' || (i % 7), 'name-' || i, {state}, 'x', i, '', 1, case when i % 5 = 0 then 0 else 1 end, i, i, i, '{{}}', '[]', '', '[]',
 'subprocess', 'host', i % 3, 0, 'fail', 0, 'dep-' || (i % 50), 'sch-' || (i % 50), 'queue-' || (i % 9), 'agent-' || (i % 9),
 case when i % 50 = 1 then i end, case when i % 5 in (1, 2, 3, 4) and i % 50 <> 1 then i end, case when i % 50 = 1 then 1 else 2 end, null from c
"""
TASKS = """
with recursive c(i) as (select 1 union all select i + 1 from c where i < {tasks})
insert into task_run (id, flow_run, key, name, state_type, state_name, state_at, state_message, seq, attempt, flow_attempt, created_at, tags,
 upstream, retries) select 'task-' || i, i % {runs} + 1, 'k', 'n', 'completed', 'Completed', i, '', 2, 1, 1, i, '[]', '[]', 0 from c
"""
JOURNAL = """
with recursive c(i) as (select 1 union all select i + 1 from c where i < {tasks})
insert into journal (pos, run, seq, attempt, state_type, state_name, at, message)
select i, i, 1, 1, 'running', 'Running', i, '' from c
"""
STATE = "case when i % 50 = 1 then 'running' when i % 5 = 0 then 'scheduled' when i % 5 = 2 then 'failed' else 'completed' end"


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    store = open_sql_store(f"sqlite:///{tmp_path_factory.mktemp('plans')}/legato.db")
    with store._database.write() as session:
        session.run(SEED.format(runs=RUNS, state=STATE))
        session.run(TASKS.format(runs=RUNS, tasks=RUNS * TASKS_EACH))
        session.run(JOURNAL.format(runs=RUNS, tasks=RUNS * TASKS_EACH))
    yield store
    store.close()


def plan_on_sqlite(store: SqlStore, sql: str, parameters: dict[str, Any] | None = None) -> str:
    text, for_one, listed = for_sqlite(sql)
    if len(listed) == 1 and len((parameters or {}).get(listed[0], ())) == 1:
        text = for_one  # as it is sent
    names = set(re.findall(r"(?<!:):(\w+)", text))
    given = {name: (parameters or {}).get(name, "[]" if f"json_each(:{name})" in text else 1) for name in names}
    given = {name: "[]" if isinstance(value, list) else value for name, value in given.items()}
    with store._database.read() as session:
        rows = session._connection.execute(f"explain query plan {text}", given).fetchall()  # type: ignore[attr-defined]
    return "\n".join(row[3] for row in rows)


def walked(plan: str) -> list[str]:
    """Large tables that a plan reads from end to end."""
    return [table for table in re.findall(r"SCAN (\w+)", plan) if table in LARGE]


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_a_statement_goes_by_its_index_on_sqlite(seeded: SqlStore, name: str) -> None:
    if name in ONLY_POSTGRES:
        pytest.skip("written for PostgreSQL")
    plan = plan_on_sqlite(seeded, statements()[name])

    for index in PROMISED[name]:
        ours = index if not index.startswith("the primary key") else "PRIMARY KEY"
        assert ours in plan or (ours == "PRIMARY KEY" and "sqlite_autoindex" in plan), plan


@pytest.mark.parametrize("name", sorted(statements().keys() - ONLY_POSTGRES - WALKS.keys()))
def test_no_statement_walks_a_large_table(seeded: SqlStore, name: str) -> None:
    assert walked(plan_on_sqlite(seeded, statements()[name])) == []


FILTERS = {
    "newest": (FlowRunFilter(), "flow_run_start"),
    "one state": (FlowRunFilter(states=(FAILED,)), "flow_run_state"),
    "flow": (FlowRunFilter(flow_name="etl"), "flow_run_flow"),
    "deployment": (FlowRunFilter(deployment_id="d"), "flow_run_deployment"),
    "queue": (FlowRunFilter(work_queue="q"), "flow_run_queue"),
    "agent": (FlowRunFilter(agent_id="a"), "flow_run_agent"),
    "schedule": (FlowRunFilter(schedule_id="s"), "flow_run_schedule"),
    "parent": (FlowRunFilter(parent_run_id="p"), "flow_run_parent"),
    "top level": (FlowRunFilter(top_level=True), "flow_run_top"),
    "state's name": (FlowRunFilter(state_names=("Late",)), "flow_run_named"),
    "tag": (FlowRunFilter(tags=("prod",)), "SEARCH x USING PRIMARY KEY"),
    "two tags": (FlowRunFilter(tags=("prod", "rare")), "SEARCH x USING PRIMARY KEY"),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_list_goes_by_the_index_of_its_filter(seeded: SqlStore, name: str) -> None:
    filter_, index = FILTERS[name]
    for cursor in (None, "5.5"):
        query = lists.FlowRunQuery(filter_, filter_.tags, cursor=cursor, oldest_first=False, by_join=False)
        sql, parameters = query.merged(101) if query.streams else query.read(101, None)
        plan = plan_on_sqlite(seeded, sql, parameters)
        assert index in plan, plan
        assert walked(plan) in ([], ["r"]), plan


def test_a_claim_goes_by_what_is_due_and_not_over_all_that_is_planned(seeded: SqlStore) -> None:
    for filter_ in (QueueFilter(), QueueFilter(tags=("prod",)), QueueFilter(deployments=("a/b",), flow_runners=("subprocess",))):
        sql, parameters = lists.select_due(filter_, lock=False)
        plan = plan_on_sqlite(seeded, sql, {**parameters, "until": 5, "limit": 1})
        assert "flow_run_due" in plan, plan
        assert "TEMP B-TREE" not in plan, plan


@pytest.mark.postgres
def test_statements_go_by_their_indexes_on_postgresql(postgres_url: str) -> None:
    store = open_sql_store(postgres_url)
    with store._database.write() as session:
        session.run(SEED.format(runs=RUNS, state=STATE))
        session.run(TASKS.format(runs=RUNS, tasks=RUNS * TASKS_EACH))
        session.run(JOURNAL.format(runs=RUNS, tasks=RUNS * TASKS_EACH))
    wrong = []
    for name, sql in sorted(statements().items()):
        if name in WALKS or name in ONLY_SQLITE:
            continue
        lists_ = set(re.findall(r"in :(\w+)\*", sql)) | set(re.findall(r"unnest\(:(\w+)|, :(\w+)::", sql) and ["ids", "epochs"])
        names = set(re.findall(r"(?<![:\w]):(\w+)", sql))
        given: dict[str, Any] = {each: [] if each in lists_ else _sample(each, sql) for each in names}
        with store._database.write() as session:
            plan = "\n".join(row[0] for row in session.rows(f"explain {sql}", **given))
        scans = [table for table in re.findall(r"Seq Scan on (\w+)", plan) if table in LARGE]
        if scans:
            wrong.append(f"{name} walks {scans}:\n{plan}")
    store.close()
    assert wrong == []


_NUMBERS = re.compile(
    r"at|_at$|^now$|^n$|^run$|^size$|seq|limit|after|until|late|lease|before|version|count|level|epoch|pid|priority|paused|active|retries|cursor|max|since|look"
)


def _sample(name: str, sql: str) -> Any:
    return 1 if _NUMBERS.search(name) and name not in ("state", "catchup", "what") else "x"
