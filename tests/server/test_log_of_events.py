"""What a server's log says of a database or server that is away, and of a fault of its own."""

import io
import json
import logging

import pytest

from legato.core.errors import LegatoError, Unavailable
from legato.logs.events import EventFormatter
from legato.store.wire import Problem, error_of


def printed(error: Exception, *, as_json: bool) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(EventFormatter(as_json=as_json))
    log = logging.getLogger("legato-test-of-events")
    log.handlers, log.propagate = [handler], False
    try:
        try:
            raise OSError("refused")
        except OSError as cause:
            raise error from cause
    except LegatoError:
        log.exception("service_failed", extra={"service": "overlap"})
    return stream.getvalue()


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_away_is_told_in_a_line_and_a_fault_with_its_traceback(as_json: bool) -> None:
    away = printed(Unavailable("cannot use the database x: connection refused"), as_json=as_json)
    fault = printed(error_of(Problem(code="internal", detail="it broke"), 500), as_json=as_json)

    assert len(away.splitlines()) == 1
    assert "connection refused" in away
    assert "service_failed" in away
    assert "Traceback" not in away
    assert "Traceback" in fault
    if as_json:
        assert json.loads(away)["why"] == "cannot use the database x: connection refused"
