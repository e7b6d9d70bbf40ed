"""`legato doctor`: the surroundings, checked one by one, with a fix for each fault."""

from __future__ import annotations

import click

from legato.cli.grammar import Verb
from legato.cli.session import Session


@click.command("doctor", cls=Verb, examples=["legato doctor", "legato doctor -o json"], exits=(1,))
@click.pass_obj
def command(session: Session) -> int:
    """Check the home folder, settings, database or server, clock, queues and agents. Exit 1 when something is broken."""
    from legato.cli.checks import run_checks
    from legato.cli.output import show_json

    findings = run_checks(session)
    if session.wants_json:
        show_json(session, [one._asdict() for one in findings])
    else:
        width = max(len(one.check) for one in findings)
        for one in findings:
            print(f"{one.verdict.ljust(5)}  {one.check.ljust(width)}  {one.detail}")
            if one.fix:
                print(f"{'':5}  {'':{width}}  fix: {one.fix}")
    return 1 if any(one.verdict == "bad" for one in findings) else 0
