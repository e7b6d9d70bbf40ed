"""A store that cannot be used is told of in its own words, without the driver's error below it."""

import traceback

import pytest

from legato.core.errors import Unavailable, UsageError
from legato.engine.tracebacks import relink


def raised(error: Exception) -> str:
    try:
        try:
            raise OSError("the driver's words")
        except OSError as cause:
            raise error from cause
    except type(error) as found:
        relink(found)
        return "".join(traceback.format_exception(found))


def test_the_cause_of_what_is_away_is_not_printed_and_that_of_a_mistake_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert raised(Unavailable("the database is away")).count("Traceback") == 1
    assert raised(UsageError("the file cannot be imported")).count("Traceback") == 2
    monkeypatch.setenv("LEGATO_TRACEBACKS", "full")
    assert raised(Unavailable("the database is away")).count("Traceback") == 2
