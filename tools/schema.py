"""Writes `migrations/schema.sqlite.sql`: what all migrations make together, which is what a new database is made from. Run it after adding one."""

from pathlib import Path

from legato.store.sqlite_schema import schema_of_migrations

HEAD = """-- What the migrations make together, written by `python tools/schema.py`: a new database is made from it in a fifth of their time.
-- A test holds it against them. Trigrams are not in it: they are made where this SQLite has them (see `sqlite_schema.py`).

"""


def main() -> None:
    import legato.store

    path = Path(legato.store.__file__).parent / "migrations" / "schema.sqlite.sql"
    path.write_text(HEAD + ";\n\n".join(schema_of_migrations()) + ";\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
