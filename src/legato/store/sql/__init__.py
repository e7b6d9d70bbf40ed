"""The store on a SQL database, by subject. Rules run inside its transactions; see `transitions` for those, `lists` for filters,
`statements/` for the SQL. `whole` puts the subjects together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from legato.store.sql.reports import Batched
    from legato.store.sql.subject import statements
    from legato.store.sql.whole import SqlStore

__all__ = ["Batched", "SqlStore", "statements"]


def __getattr__(name: str) -> Any:
    """Start-up time: a script that runs a flow only reports, and needs a fifth of this."""
    if name == "SqlStore":
        from legato.store.sql.whole import SqlStore  # noqa: PLC0415 as above

        return SqlStore
    if name in ("Batched", "statements"):
        from legato.store.sql import reports  # noqa: PLC0415 as above

        return getattr(reports, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
