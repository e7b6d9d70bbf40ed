"""Lists by any two or three conditions hold what these say, in order, however many runs meet each: few are read, many are merged."""

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from legato.core.records import FlowRun, FlowRunFilter
from legato.core.states import CANCELLED, COMPLETED, CRASHED, FAILED, SCHEDULED
from legato.store import lists
from legato.store.open import open_sql_store
from legato.store.sql import SqlStore
from legato.store.sql.runs import FEW

from tests.store.conftest import SQL, _postgres
from tests.store.make import at
from tests.store.test_plans_of_statements import plan_on_sqlite

RUNS = 2 * FEW + 600
_SEED = f"""
with recursive c(i) as (select cast(1 as bigint) union all select i + 1 from c where i < {RUNS})
insert into flow_run (id, flow_name, name, state_type, state_name, state_at, state_message, seq, attempt, created_at, expected_start_at,
 parameters, tags, trigger_text, upstream, flow_runner, host, pid, retries, on_lost, lost, deployment_id, schedule_id, work_queue, agent_id,
 epoch, parent_run_id)
select 'run-' || i, case when i % 3 > 0 then 'etl' else 'flow-' || (i % 11) end, 'name-' || (i % 50), {{state}}, {{name}}, 0, '', 1, 1, 0,
 {{noon}} + (i / 3) * 1000000, '{{{{}}}}', {{tags}}, '', '[]', 'subprocess', 'host', 0, 0, 'fail', 0, 'dep-' || (i % 2), 'sch-' || (i % 40),
 'queue-' || (i % 2), 'agent-' || (i / 2 % 2), 2, case when i % 2 = 0 then 'parent-' || (i % 4) end from c
"""
_STATE = "case when i % 50 = 0 then 'scheduled' when i % 20 = 3 then 'failed' when i % 100 = 7 then 'crashed' else 'completed' end"
_NAME = "case when i % 50 = 0 then 'Late' when i % 40 = 3 then 'TimedOut' when i % 20 = 3 then 'Failed' when i % 100 = 7 then 'Crashed'"
_TAGGED = {"prod": 2, "team": 50, "rare": 1250}
"""Tag -> every how many-th run has it."""
_TAGS = " || ".join(f"case when i % {every} = 0 then '\"{tag}\",' else '' end" for tag, every in _TAGGED.items())

CONDITIONS: dict[str, tuple[dict[str, Any], Callable[[FlowRun], bool]]] = {
    "failed": ({"states": (FAILED,)}, lambda r: r.state.type is FAILED),
    "ended badly": ({"states": (FAILED, CRASHED, CANCELLED)}, lambda r: r.state.type in (FAILED, CRASHED, CANCELLED)),
    "not planned": ({"states": (COMPLETED, FAILED, CRASHED)}, lambda r: r.state.type is not SCHEDULED),
    "late or crashed": ({"state_names": ("Late", "Crashed")}, lambda r: r.state.name in ("Late", "Crashed")),
    "completed by name": ({"state_names": ("Completed",)}, lambda r: r.state.name == "Completed"),
    "one flow": ({"flow_name": "etl"}, lambda r: r.flow_name == "etl"),
    "small flow": ({"flow_name": "flow-3"}, lambda r: r.flow_name == "flow-3"),
    "no flow": ({"flow_name": "nowhere"}, lambda r: False),
    "deployment": ({"deployment_id": "dep-1"}, lambda r: r.deployment_id == "dep-1"),
    "queue": ({"work_queue": "queue-0"}, lambda r: r.work_queue == "queue-0"),
    "agent": ({"agent_id": "agent-1"}, lambda r: r.agent_id == "agent-1"),
    "schedule": ({"schedule_id": "sch-7"}, lambda r: r.schedule_id == "sch-7"),
    "parent": ({"parent_run_id": "parent-2"}, lambda r: r.parent_run_id == "parent-2"),
    "top": ({"top_level": True}, lambda r: r.parent_run_id is None),
    "prod": ({"tags": ("prod",)}, lambda r: "prod" in r.tags),
    "prod and rare": ({"tags": ("prod", "rare", "prod")}, lambda r: {"prod", "rare"} <= {*r.tags}),
    "unknown tag": ({"tags": ("nobody-uses-this",)}, lambda r: False),
    "text of few": ({"text": "name-17"}, lambda r: "name-17" in r.name),
    "text of a flow": ({"text": "flow-3"}, lambda r: "flow-3" in r.flow_name),
    "short text": ({"text": "7"}, lambda r: "7" in r.name or "7" in r.flow_name),
    "from": ({"start_after": at(700)}, lambda r: r.expected_start_at >= at(700)),
    "until": ({"start_before": at(900)}, lambda r: r.expected_start_at < at(900)),
}


@pytest.fixture(scope="module", params=SQL)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SqlStore, list[FlowRun]]]:
    """A store of many runs, and all of them, newest first."""
    with ExitStack() as stack:
        is_sqlite = request.param == "sqlite"
        store = open_sql_store(
            f"sqlite:///{tmp_path_factory.mktemp('lists')}/l.db" if is_sqlite else stack.enter_context(_postgres(request))
        )
        stack.callback(store.close)
        noon = int(at(0).timestamp() * 1_000_000)
        tags = f"'[' || rtrim({_TAGS}, ',') || ']'"
        with store._database.write() as session:
            session.run(_SEED.format(state=_STATE, name=f"{_NAME} else 'Completed' end", noon=noon, tags=tags))
            session.run("insert into flow (workspace, id, name, created_at) select distinct 1, flow_name, flow_name, 0 from flow_run")
            for tag, every in _TAGGED.items():
                session.run("insert into tag (workspace, name) values (1, :name)", name=tag)
                session.run(
                    "insert into run_tag (tag, start_at, run) select t.n, r.expected_start_at, r.n from flow_run r, tag t"
                    f" where t.name = :name and cast(substr(r.id, 5) as bigint) % {every} = 0",
                    name=tag,
                )
        yield store, every_page(store, FlowRunFilter(), limit=1000)


def every_page(store: SqlStore, filter_: FlowRunFilter, *, limit: int, oldest_first: bool = False) -> list[FlowRun]:
    found: list[FlowRun] = []
    cursor = None
    while True:
        page = store.list_flow_runs(filter_, cursor=cursor, limit=limit, oldest_first=oldest_first)
        found += page.items
        if (cursor := page.cursor) is None:
            return found


def combined(names: tuple[str, ...]) -> FlowRunFilter | None:
    """All these conditions in one filter; None where two of them are of the same kind."""
    particulars: dict[str, Any] = {}
    for name in names:
        given = CONDITIONS[name][0]
        if given.keys() & particulars.keys():
            return None
        particulars |= given
    return FlowRunFilter(**particulars)


COMBINED = [(names, filter_) for size in (1, 2, 3) for names in itertools.combinations(CONDITIONS, size) if (filter_ := combined(names))]


def test_a_list_by_any_conditions_holds_what_they_say_in_order(filled: tuple[SqlStore, list[FlowRun]]) -> None:
    store, everything = filled
    chance = random.Random(8)
    of_three = [each for each in COMBINED if len(each[0]) == 3]
    wrong = []
    for names, filter_ in [*(each for each in COMBINED if len(each[0]) < 3), *chance.sample(of_three, 150)]:
        oldest_first = chance.random() < 0.5
        meets = [run.id for run in everything if all(CONDITIONS[name][1](run) for name in names)]
        expected = (meets[::-1] if oldest_first else meets)[:120]
        cursor, found = None, []
        for _ in range(3):
            page = store.list_flow_runs(filter_, cursor=cursor, limit=40, oldest_first=oldest_first)
            found += [run.id for run in page.items]
            if (cursor := page.cursor) is None:
                break
        if found != expected or (cursor is None) != (len(meets) <= 120):
            wrong.append(f"{' + '.join(names)}: {len(found)} of {len(meets)}")
    assert wrong == []


def test_counts_by_any_conditions_are_those_of_their_lists(filled: tuple[SqlStore, list[FlowRun]]) -> None:
    store, everything = filled
    wrong = []
    for names, filter_ in random.Random(9).sample(COMBINED, 40):
        meets = [run for run in everything if all(CONDITIONS[name][1](run) for name in names)]
        expected = {state: n for state in {r.state.type for r in meets} if (n := sum(r.state.type is state for r in meets))}
        if store.count_flow_runs(filter_) != expected:
            wrong.append(f"{' + '.join(names)}: {store.count_flow_runs(filter_)}, not {expected}")
    assert wrong == []


def test_many_runs_of_several_conditions_are_merged_from_indexes_and_nothing_is_sorted(filled: tuple[SqlStore, list[FlowRun]]) -> None:
    store, _ = filled
    wrong = []
    for names, filter_ in COMBINED:
        query = lists.FlowRunQuery(filter_, filter_.tags, cursor="5.5", oldest_first=False, by_join=not is_sqlite(store))
        if filter_.text or not query.merges:
            continue
        sql, parameters = query.merged(101)
        if is_sqlite(store):
            plan = plan_on_sqlite(store, sql, parameters)
            is_right = "TEMP B-TREE" not in plan and "SCAN r" not in plan and ("MERGE (" in plan)
        else:
            with store._database.read() as session:
                session.merging()
                plan = "\n".join(row[0] for row in session.rows(f"explain {sql}", **parameters))
            is_right = "Sort  " not in plan and "Seq Scan on flow_run" not in plan and "Hash" not in plan
        if not is_right:
            wrong.append(f"{' + '.join(names)}:\n{plan}")
    assert wrong == []


def is_sqlite(store: SqlStore) -> bool:
    return store.info()["kind"] == "sqlite"
