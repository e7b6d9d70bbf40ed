"""The schema's history: numbered SQL files, forward only, written once for both databases with a few placeholders.

Where the two must go different ways, a step has a file for each: `0005_workspaces.sqlite.sql` and `0005_workspaces.postgres.sql`. They are read
beside the statements, in `database`: one module less to load when a process starts.
"""

from __future__ import annotations

from legato.store.database import LATEST, migrations

__all__ = ["LATEST", "migrations"]
