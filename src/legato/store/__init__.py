"""Where runs are kept: one port in domain verbs (`port.Store`), reached in three ways: SQLite, PostgreSQL, or a server over HTTP."""
