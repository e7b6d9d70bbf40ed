"""The whole store on a SQL database: its subjects, put together."""

from __future__ import annotations

from legato.store.port import Store
from legato.store.sql.deployments import SqlDeployments
from legato.store.sql.history import SqlHistory, SqlMade
from legato.store.sql.limits import SqlLimits
from legato.store.sql.queues import SqlQueues
from legato.store.sql.reports import SqlReports
from legato.store.sql.runs import SqlRuns


class SqlStore(SqlReports, SqlRuns, SqlHistory, SqlMade, SqlDeployments, SqlQueues, SqlLimits, Store):
    """The `Store` port on SQLite or PostgreSQL, in one workspace."""

    def of(self, workspace: int) -> SqlStore:
        """The same database, seen from another workspace."""
        return SqlStore(self._database, clock=self._clock, workspace=workspace)
