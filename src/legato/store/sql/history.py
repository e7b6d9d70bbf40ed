"""What is looked at and never changed here: task runs, the journal, log lines."""

from __future__ import annotations

from collections.abc import Sequence

from legato.core.errors import NotFound
from legato.core.records import Change, JournalEntry, LogLine, TaskRun, TaskRunPage
from legato.core.states import StateType
from legato.store import lists, rows
from legato.store.sql.subject import SqlSubject, number


class SqlHistory(SqlSubject):
    """Task runs, journal, logs."""

    def get_task_run(self, run_id: str) -> TaskRun:
        with self._reading() as session:
            row = session.row(self._sql["task_run_by_id"], id=run_id)
        if row is None:
            raise NotFound("task run", run_id)
        return rows.task_run_of(row)

    def list_task_runs(self, flow_run_id: str, *, cursor: str | None = None, limit: int = 1000) -> TaskRunPage:
        after = number(cursor)
        with self._reading() as session:
            found = session.rows(self._sql["task_runs_after"], flow_run_id=flow_run_id, after=after, limit=limit + 1)
        items = [rows.task_run_of(row[1:]) for row in found[:limit]]
        return TaskRunPage(items, str(found[limit - 1][0]) if len(found) > limit else None)

    def count_task_runs(self, flow_run_ids: Sequence[str]) -> dict[str, dict[StateType, int]]:
        counts: dict[str, dict[StateType, int]] = {}
        with self._reading() as session:
            for run_id, state, n in session.rows(self._sql["count_task_runs"], ids=list(flow_run_ids)):
                counts.setdefault(run_id, {})[StateType(state)] = n
        return counts

    def list_transitions(self, run_id: str) -> list[JournalEntry]:
        with self._reading() as session:
            return [rows.journal_entry_of(row) for row in session.rows(self._sql["transitions_of"], run_id=run_id)]

    def read_journal(self, after: int, *, limit: int = 1000) -> list[JournalEntry]:
        with self._reading() as session:
            return [rows.journal_entry_of(row) for row in session.rows(self._sql["journal_after"], after=after, limit=limit)]

    def read_changes(self, after: int, *, limit: int = 1000) -> list[Change]:
        with self._reading() as session:
            return [rows.change_of(row) for row in session.rows(self._sql["changes_after"], after=after, limit=limit)]

    def journal_position(self) -> int:
        with self._reading() as session:
            row = session.row(self._sql["journal_position"])
        return int(row[0]) if row else 0

    def read_logs(
        self,
        flow_run_id: str,
        *,
        task_run_id: str | None = None,
        min_level: int = 0,
        text: str = "",
        after: int = 0,
        limit: int = 500,
    ) -> list[LogLine]:
        where = lists.Where()
        where.add("flow_run_id = :flow_run_id and n > :after and level >= :level", flow_run_id=flow_run_id, after=after, level=min_level)
        if task_run_id is not None:
            where.add("task_run_id = :task_run_id", task_run_id=task_run_id)
        if text:
            where.add("lower(message) like :text escape '\\'", text=lists.containing(text))
        sql = f"select n, {', '.join(rows.LOG)} from log where {where.text} order by n limit :limit"  # noqa: S608 built from names of ours
        with self._reading() as session:
            return [rows.log_line_of(row) for row in session.rows(sql, **where.parameters, limit=limit)]

    def count_logs(self, flow_run_ids: Sequence[str]) -> dict[str, tuple[int, int, int]]:
        with self._reading() as session:
            found = session.rows(self._sql["count_logs"], ids=list(flow_run_ids))
        return {run_id: (int(total), int(warnings), int(errors)) for run_id, total, warnings, errors in found}
