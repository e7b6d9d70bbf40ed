"""What runs make for people, and what people give to runs: artifacts and variables."""

from __future__ import annotations

from datetime import datetime

from legato.core.artifacts import BRIEF_DATA, check_variable_name
from legato.core.clock import to_us
from legato.core.errors import Conflict, NotFound
from legato.core.ids import is_id
from legato.core.records import Artifact, ArtifactFilter, ArtifactPage, ChangeKind, Variable
from legato.store import lists, rows
from legato.store.database import Session
from legato.store.sql.subject import SqlSubject, changes, note, number, statements

_ALL_ARTIFACTS = ArtifactFilter()


class SqlMade(SqlSubject):
    """Artifacts and variables."""

    def get_artifact(self, wanted: str, *, version: int = 0) -> Artifact:
        with self._reading() as session:
            if is_id(wanted):
                row = session.row(self._sql["artifact_by_id"], id=wanted)
            else:
                row = session.row(self._sql["artifact_of_key"], key=rows.storable(wanted), version=version)
        if row is None:
            named = f"{wanted} version {version}" if version else wanted
            raise NotFound("artifact", named, hint="legato artifact ls lists them")
        return rows.artifact_of(row)

    def list_artifacts(
        self,
        filter: ArtifactFilter = _ALL_ARTIFACTS,
        *,
        cursor: str | None = None,
        limit: int = 100,
        oldest_first: bool = False,
        brief: bool = False,
    ) -> ArtifactPage:
        longest = BRIEF_DATA if brief else None
        sql, parameters = lists.select_artifacts(filter, after=number(cursor), oldest_first=oldest_first, longest=longest)
        with self._reading() as session:
            found = session.rows(sql, **parameters, limit=limit + 1)
        return ArtifactPage([rows.artifact_of(row) for row in found[:limit]], str(found[limit - 1][0]) if len(found) > limit else None)

    def get_variable(self, name: str) -> Variable:
        with self._reading() as session:
            return _variable(session, name)

    @changes
    def set_variable(self, session: Session, variable: Variable, *, overwrite: bool = True, now: datetime | None = None) -> Variable:
        now = self._now(now)
        check_variable_name(variable.name)
        value = {"value": rows.text_of(variable.value), "tags": rows.text_of(variable.tags)}
        statement = self._sql["save_variable" if overwrite else "add_variable"]
        if not session.run(statement, name=variable.name, now=to_us(now), **value):
            raise Conflict(f"there is a variable '{variable.name}' already", hint="say overwrite=True (--overwrite) to replace its value")
        note(session, ChangeKind.VARIABLE, variable.name, "set", now)
        return _variable(session, variable.name)

    def list_variables(self) -> list[Variable]:
        with self._reading() as session:
            return [rows.variable_of(row) for row in session.rows(self._sql["list_variables"])]

    @changes
    def delete_variable(self, session: Session, name: str) -> None:
        _variable(session, name)
        session.run(self._sql["delete_variable"], name=name)
        note(session, ChangeKind.VARIABLE, name, "deleted", self._now(None))


def _variable(session: Session, name: str) -> Variable:
    row = session.row(statements()["variable_by_name"], name=rows.storable(name))
    if row is None:
        raise NotFound("variable", name, hint=f"legato variable ls lists them; make it: legato variable set {name} VALUE")
    return rows.variable_of(row)
