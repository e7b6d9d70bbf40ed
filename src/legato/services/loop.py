"""The loop around services, written once: calls each at its interval on one thread, survives what they raise, and tells how long ago
each last succeeded.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec

from legato.core.clock import Clock

MISSED_TICKS = 3
"""A service that has not succeeded for so many intervals is late, and the server not ready."""

_log = logging.getLogger(__name__)


class Service(msgspec.Struct, frozen=True):
    """A name, an interval, and what to do at a time."""

    name: str
    every_s: float
    tick: Callable[[datetime], object]


class ServiceLoop:
    """Runs services. `run_due` does one round and can be called by itself, with a clock that stands still; `start` puts it on a thread.

    `on_tick` is called, on that thread, after each tick that reports to have done something.
    """

    def __init__(self, services: Sequence[Service], clock: Clock, *, on_tick: Callable[[], None] = lambda: None) -> None:
        self._services = list(services)
        self._clock = clock
        self.on_tick = on_tick
        begun = clock.monotonic_s()
        self._next = {service.name: begun for service in self._services}
        self._succeeded = dict(self._next)
        self._reports: dict[str, object] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def run_due(self) -> float:
        """Tick every service whose time has come; returns seconds until the next one's."""
        for service in self._services:
            now = self._clock.monotonic_s()
            if now >= self._next[service.name]:
                self._next[service.name] = now + service.every_s
                self._tick(service)
        return max(0.0, min(self._next.values(), default=self._clock.monotonic_s() + 60.0) - self._clock.monotonic_s())

    def _tick(self, service: Service) -> None:
        try:
            report = service.tick(self._clock.now())
        except Exception:  # noqa: BLE001 one service's failure is not the others'; it shows as late
            _log.exception("service_failed", extra={"service": service.name})
            return
        self._succeeded[service.name] = self._clock.monotonic_s()
        self._reports[service.name] = report
        if _did_something(report):
            self.on_tick()

    def ages_s(self) -> Mapping[str, float]:
        """Seconds since each service last succeeded, or since the loop was made."""
        now = self._clock.monotonic_s()
        return {service.name: now - self._succeeded[service.name] for service in self._services}

    def late(self) -> list[str]:
        """Services that have not succeeded for MISSED_TICKS intervals."""
        ages = self.ages_s()
        return [service.name for service in self._services if ages[service.name] > MISSED_TICKS * service.every_s]

    def start(self) -> None:
        """Run on a thread until `stop`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="legato-services", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(self.run_due())

    def stop(self) -> None:
        """End after the present tick. Safe to call twice, and before `start`."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None


def _did_something(report: object) -> bool:
    """Whether any number of a report is above zero."""
    return isinstance(report, msgspec.Struct) and any(getattr(report, name) for name in report.__struct_fields__)
