"""The store on a SQL database, by subject. Rules run inside its transactions; see `transitions` for those, `lists` for filters,
`statements/` for the SQL.
"""

from __future__ import annotations

from collections.abc import Mapping

from legato.store.database import LATEST, Database
from legato.store.port import Store
from legato.store.sql.deployments import SqlDeployments
from legato.store.sql.history import SqlHistory, SqlMade
from legato.store.sql.limits import SqlLimits
from legato.store.sql.queues import SqlQueues
from legato.store.sql.reports import Batched, SqlReports
from legato.store.sql.runs import SqlRuns
from legato.store.sql.subject import statements

__all__ = ["Batched", "SqlStore", "statements"]


class SqlStore(SqlReports, SqlRuns, SqlHistory, SqlMade, SqlDeployments, SqlQueues, SqlLimits, Store):
    """The `Store` port on SQLite or PostgreSQL, in one workspace."""

    can_wait = False
    knows_batches = True

    @property
    def address(self) -> str:
        """What tells this store from others: reports that could not be sent to it are given to no other."""
        return f"{self._database.kind}:{self._database.location}"

    def of(self, workspace: int) -> SqlStore:
        """The same database, seen from another workspace."""
        return SqlStore(self._database, clock=self._clock, workspace=workspace)

    @property
    def database(self) -> Database:
        """What it is on."""
        return self._database

    def info(self) -> Mapping[str, str]:
        return {"kind": self._database.kind, "location": self._database.location, "schema_version": str(LATEST)}

    def foreign_changes(self) -> bool:
        """Whether another process has written since this was last asked (see `Database.foreign_changes`)."""
        return self._database.foreign_changes()

    def close(self) -> None:
        self._database.close()
