"""Regions: a stop arrives once, in user code, and never in the engine's own lines."""

import threading

import pytest

from legato.engine.script import Stop
from legato.engine.stops import Region


def test_every_stop_that_was_sent_arrives_once_and_none_lands_outside() -> None:
    """The race of ENGINE.md section 2: without the token, one stop in five landed in the engine's lines."""
    arrived = escaped = 0
    sent: list[bool] = []

    def body() -> int:
        return sum(range(300))

    for i in range(300):
        region = Region()
        go = threading.Event()

        def stopper(region: Region = region, go: threading.Event = go, spins: int = i % 40) -> None:
            go.wait()
            for _ in range(spins * 20):
                pass
            region.stop("cancelled")
            sent.append(region._sent)

        helper = threading.Thread(target=stopper)

        def work(region: Region = region, go: threading.Event = go) -> None:
            nonlocal arrived, escaped
            try:
                go.set()
                try:
                    region.call(body, (), {})
                except Stop as stop:
                    arrived += stop.reason == "cancelled"
                for _ in range(2000):  # the engine's own lines
                    pass
            except BaseException:  # noqa: BLE001 this is what must not happen
                escaped += 1

        worker = threading.Thread(target=work)
        helper.start(), worker.start()
        helper.join(), worker.join()
    assert escaped == 0
    assert arrived >= sum(sent)


def test_a_stop_that_comes_before_the_call_keeps_it_from_beginning() -> None:
    region = Region()
    region.stop("cancelled")
    ran: list[int] = []

    with pytest.raises(Stop, match="cancelled"):
        region.call(ran.append, (1,), {})

    assert ran == []
