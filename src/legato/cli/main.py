"""The entry point: it parses the line, runs the command, and turns whatever goes wrong into three lines and an exit code."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from itertools import pairwise

import click

from legato import __version__
from legato.cli.failures import FAILED, FORBIDDEN, INTERRUPTED, MISUSED, UNREACHABLE, Failure, as_lines, as_record, exit_code_of
from legato.cli.grammar import Entry, Root
from legato.cli.session import Session
from legato.core.errors import LegatoError, Unavailable
from legato.core.spelling import did_you_mean

ENTRIES = {
    "up": Entry("up", "Server, agent and browser in one line.", "Run"),
    "run": Entry("run", "Run a flow now; list, show, watch and cancel runs.", "Run"),
    "task": Entry("task", "Task runs of a run.", "Run"),
    "plan": Entry("plan", "The graph of a flow before anything runs.", "Run"),
    "why": Entry("why", "Why a run waits, failed, was cached, skipped, …, in sentences.", "Run"),
    "flow": Entry("flow", "Flows that have been run or deployed.", "Run"),
    "deployment": Entry("deployment", "Make flows runnable by others, on schedules.", "Deploy"),
    "schedule": Entry("schedule", "See when a schedule would fire.", "Deploy"),
    "artifact": Entry("artifact", "What runs have made for people to look at.", "Run"),
    "work-queue": Entry("work_queue", "Which agents take which runs.", "Deploy"),
    "limit": Entry("limit", "How many runs with a tag agents hold at once.", "Deploy"),
    "agent": Entry("agent", "Processes that run what is scheduled.", "Operate"),
    "server": Entry("server", "The API and web UI.", "Operate"),
    "doctor": Entry("doctor", "Check the surroundings, with a fix for each fault.", "Operate"),
    "open": Entry("open", "Open the web UI, or a run or deployment in it.", "Operate"),
    "api": Entry("api", "A raw call to the server's API.", "Operate"),
    "variable": Entry("variable", "Named values that flows read when they run.", "Configure"),
    "config": Entry("config", "Settings: what is in force, and where it comes from.", "Configure"),
    "profile": Entry("profile", "Named sets of settings.", "Configure"),
    "completion": Entry("completion", "Completion for your shell.", "Configure"),
    "version": Entry("status", "Versions of Legato and what it stands on.", "Configure"),
}

NOUN_ALIASES = {
    **dict.fromkeys(("runs", "flow-run", "flow-runs"), "run"),
    **dict.fromkeys(("tasks", "task-run", "task-runs"), "task"),
    **dict.fromkeys(("work-queues", "queue", "queues"), "work-queue"),
    **{f"{name}s": name for name in ("flow", "artifact", "variable", "deployment", "schedule", "agent", "server", "profile")},
    **dict.fromkeys(("limits", "concurrency-limit", "concurrency-limits"), "limit"),
    "settings": "config",
    "orion": "server",
}


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        print(f"legato {__version__}")
        ctx.exit()


@click.pass_context
def _status(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        from legato.cli.status import show_status

        show_status(ctx.find_object(Session) or Session())


root = Root(
    "legato",
    entries=ENTRIES,
    noun_aliases=NOUN_ALIASES,
    callback=_status,
    invoke_without_command=True,
    help="Plain Python functions, tied into workflows that keep going when the world does not.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    params=[
        click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version.")
    ],
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    _have_streams()
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run one command line; returns the exit code."""
    session = Session()
    try:
        result = root.main(arguments, prog_name="legato", standalone_mode=False, obj=session)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return MISUSED
    except click.ClickException as error:
        return _fail(_in_our_words(error), session, arguments)
    except LegatoError as error:
        return _fail(_with_next_step(error, session), session, arguments)
    except SystemExit as end:
        failure = _ended_by_a_file(end)
        if failure is None:
            raise
        return _fail(failure, session, arguments)
    except (KeyboardInterrupt, click.Abort):
        print(file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains once more when it ends
        return FAILED
    except OSError as error:
        return _fail(_no_access(error) if error.filename else _of_the_process(error) or _unexpected(error, session), session, arguments)
    except Exception as error:  # noqa: BLE001 whatever else goes wrong is ours: one line, and the traceback in a file
        return _fail(_unexpected(error, session), session, arguments)
    finally:
        session.close()


def _have_streams() -> None:
    """Make standard output and error fit for whatever is printed: one that is closed takes everything, and what its encoding has no sign for
    is written as JSON would (u00df behind a backslash), so that JSON stays JSON.
    """
    import codecs

    codecs.register_error("legato", _as_escapes)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
        elif name == "stdout" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="legato")


def _as_escapes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True)), error.end


def _fail(error: LegatoError, session: Session, arguments: list[str]) -> int:
    if session.verbose >= 2:
        import traceback

        traceback.print_exception(error.__cause__ or error)
    if session.wants_json or _asked_for_json(arguments):
        print(json.dumps(as_record(error)), file=sys.stderr)
    else:
        print("\n".join(as_lines(error)), file=sys.stderr)
    return exit_code_of(error)


def _asked_for_json(arguments: list[str]) -> bool:
    """For errors found before the whole line was read."""
    return any(
        word in ("-ojson", "-ojsonl", "--output=json") or (word in ("-o", "--output") and after.startswith("json"))
        for word, after in pairwise([*arguments, ""])
    )


def _in_our_words(error: click.ClickException) -> LegatoError:
    """A misuse that click found."""
    path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx is not None else "legato"
    hint = ""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        known = [name for param in error.ctx.command.get_params(error.ctx) for name in param.opts]
        hint = did_you_mean(error.option_name, known)
        message = f"'{path}' has no option '{error.option_name}'"
    else:
        message = (
            error.format_message()
            .replace(" is not a valid integer range.", " is no whole number.")
            .replace(" is not a valid integer.", " is no whole number.")
        )
    return Failure(message, exit_code=MISUSED, hint=hint, next_step=f"Help: {path} --help", code="usage")


def _with_next_step(error: LegatoError, session: Session) -> LegatoError:
    """What to do about a server that cannot be reached, or does not do what it is asked, is the same for all commands."""
    if not isinstance(error, Unavailable):
        return error
    url = session.settings.api_url
    if not url:
        return Failure(error.message, exit_code=exit_code_of(error), hint=error.hint, next_step="Check: legato doctor", code=error.code)
    if error.code != Unavailable.code:  # it was reached, and has said what is wrong
        step = "Its key:      legato config set api_key=KEY" if exit_code_of(error) == FORBIDDEN else "Check:        legato doctor"
        said = f"the server at {url} answered: {error.message}"
        return Failure(said, exit_code=exit_code_of(error), hint=error.hint, next_step=step, code=error.code)
    return Failure(
        error.message if url.rpartition("/api")[0] in error.message else f"cannot reach the server at {url} ({error.message})",
        exit_code=exit_code_of(error),
        hint="Start one:    legato server start          Other server:  legato profile use NAME",
        next_step="Check:        legato doctor",
        code=error.code,
    )


def _no_access(error: OSError) -> Failure:
    """A file or folder that cannot be used: most often the home folder, or a full disk."""
    failure = Failure(
        f"cannot use {error.filename}: {error.strerror}",
        exit_code=UNREACHABLE,
        hint="see that it is there and writable, or set LEGATO_HOME to a folder that is",
        next_step="Check: legato doctor",
        code=Unavailable.code,
    )
    failure.__cause__ = error
    return failure


def _ended_by_a_file(end: SystemExit) -> Failure | None:
    """A file that a command has imported ends the process, and the command would be over without a word. None: code that was run has ended it."""
    import traceback

    places = [frame for frame in traceback.extract_tb(end.__traceback__) if not frame.filename.startswith("<")]
    if not any(frame.name == "run_file" and frame.filename.endswith("loading.py") for frame in places):
        return None
    return Failure(
        f"{places[-1].filename}, line {places[-1].lineno}, ends the process when it is imported: sys.exit({'' if end.code is None else repr(end.code)})",
        exit_code=MISUSED,
        hint='an import runs the top level of a file: calls belong below if __name__ == "__main__":',
        code="usage",
    )


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What a write fails with where nothing is wrong with what is written."""


def _of_the_process(error: OSError) -> Failure | None:
    """What the process stands on has gone: the folder it was started in, or what it prints into."""
    failure = None
    try:
        os.getcwd()  # noqa: PTH109 start-up time
    except OSError:
        failure = Failure("this folder is not there any more", exit_code=MISUSED, hint="change into one that is: cd ~", code="usage")
    if error.errno in NO_ROOM:  # a file of ours would have been named
        why = f"what is printed cannot be written: {error.strerror}"
        failure = Failure(why, hint="see where standard output goes: is that disk full?")
        with contextlib.suppress(OSError, ValueError):  # or the interpreter complains once more when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if failure is not None:
        failure.__cause__ = error
    return failure


def _unexpected(error: Exception, session: Session) -> Failure:
    """Our own fault. The traceback goes to a file: it helps us, not whoever typed the command."""
    import tempfile
    import traceback
    from pathlib import Path

    try:
        folder = session.settings.home / "logs"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (LegatoError, OSError):
        folder = Path(tempfile.gettempdir())
    path = folder / f"error-{session.now():%Y%m%dT%H%M%S}-{os.getpid()}.txt"
    try:
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        where = f"the traceback is in {path}"
    except OSError:
        where = "the traceback could not be written to a file"
    failure = Failure(
        f"Legato made a mistake: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
        hint=f"{where}; please report it",
        next_step="See it now: the same command with -vv",
        code="internal",
    )
    failure.__cause__ = error
    return failure
