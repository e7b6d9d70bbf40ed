"""`legato variable`: named values that flows read when they run."""

from __future__ import annotations

import click

from legato.cli.completion import variable_names
from legato.cli.grammar import Noun
from legato.cli.session import Session

command = Noun("variable", help="Named values that flows read when they run.")


@command.command(
    "set",
    examples=["legato variable set max-rows 10000", 'legato variable set cities \'["rome", "oslo"]\' --overwrite -t prod'],
    exits=(2, 5, 6),
)
@click.argument("name", shell_complete=variable_names)
@click.argument("value")
@click.option("--overwrite", is_flag=True, help="Replace the value of a variable that is there.")
@click.option("--text", is_flag=True, help='Take the value as text, even if it reads as JSON: 42 is then "42".')
@click.option("-t", "--tag", "tags", multiple=True, help="A tag; may be given several times.")
@click.pass_obj
def set_(session: Session, name: str, value: str, overwrite: bool, text: bool, tags: tuple[str, ...]) -> None:
    """Give a variable a value: JSON if it reads as such, text otherwise."""
    from legato.cli.output import changed
    from legato.cli.parameters import as_json_or_text, check_unicode
    from legato.core.records import Variable

    given = value if text else as_json_or_text(value)
    check_unicode(name, given)
    wanted = Variable(name=name, value=given, tags=tags, updated_at=session.now())
    saved = session.store.set_variable(wanted, overwrite=overwrite)
    changed(session, saved, f"Variable '{saved.name}' is {_short(saved.value)}", name=saved.name)
    session.hint(f'Read it in a flow: Variable.get("{saved.name}")')


def _short(value: object) -> str:
    import json

    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


@command.command("get", examples=["legato variable get max-rows", "legato variable get cities -o json"], exits=(3, 6))
@click.argument("name", shell_complete=variable_names)
@click.pass_obj
def get(session: Session, name: str) -> None:
    """Print a variable's value: text as it stands, anything else as JSON. With -o json: the whole variable."""
    import json

    from legato.cli.finding import find_variable
    from legato.cli.output import show_one

    found = find_variable(session, name)
    if session.wants_json or session.output in ("name", "csv"):
        facts = [("Name", found.name), ("Value", _short(found.value)), ("Tags", found.tags), ("Updated", found.updated_at)]
        show_one(session, found, facts, name=found.name)
    else:
        print(found.value if isinstance(found.value, str) else json.dumps(found.value, ensure_ascii=False))


@command.command("ls", examples=["legato variable ls", "legato variable ls --tag prod -o json"], exits=(6,))
@click.option("-t", "--tag", "tags", multiple=True, help="Only those with this tag (all of them, if several).")
@click.pass_obj
def ls(session: Session, tags: tuple[str, ...]) -> None:
    """List variables by name."""
    from legato.cli.output import Column, show_list

    found = [one for one in session.store.list_variables() if set(tags) <= set(one.tags)]
    empty = "No variable matches." if tags else "No variables. Make one: legato variable set NAME VALUE"
    columns = [
        Column("NAME", lambda one: one.name),
        Column("VALUE", lambda one: _short(one.value), yields=1),
        Column("TAGS", lambda one: one.tags, yields=2),
        Column("UPDATED", lambda one: one.updated_at, yields=3),
    ]
    show_list(session, found, columns, name=lambda one: one.name, empty=empty)


@command.command("rm", examples=["legato variable rm max-rows --yes"], exits=(2, 3, 6))
@click.argument("name", shell_complete=variable_names)
@click.pass_obj
def rm(session: Session, name: str) -> None:
    """Remove a variable. Flows that read it without a default will fail."""
    from legato.cli.finding import find_variable
    from legato.cli.output import changed

    found = find_variable(session, name)
    session.confirm(f"Remove variable '{found.name}', which is {_short(found.value)}?")
    session.store.delete_variable(found.name)
    changed(session, found, f"Variable '{found.name}' was removed", name=found.name)
