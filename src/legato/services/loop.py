"""The loops around services, written once: each is called at its interval on a thread of its own, survives what it raises, and tells how
long ago it last succeeded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

import msgspec

from legato.core.clock import Clock
from legato.supervised import Supervised

MISSED_TICKS = 3
"""A service that has not succeeded for so many intervals is late, and the server not ready."""

_log = logging.getLogger(__name__)


class Service(msgspec.Struct, frozen=True):
    """A name, an interval, and what to do at a time."""

    name: str
    every_s: float
    tick: Callable[[datetime], object]


class ServiceLoop:
    """Runs services. `run_due` does one round and can be called by itself, with a clock that stands still; `start` puts each on a thread.

    `on_tick` is called, on its thread, after each tick that reports to have done something.
    """

    def __init__(self, services: Sequence[Service], clock: Clock, *, on_tick: Callable[[], None] = lambda: None) -> None:
        self._services = list(services)
        self._clock = clock
        self.on_tick = on_tick
        begun = clock.monotonic_s()
        self._next = {service.name: begun for service in self._services}
        self._succeeded = dict(self._next)
        self._reports: dict[str, object] = {}
        self._loops: list[Supervised] = []

    def run_due(self) -> float:
        """Tick every service whose time has come; returns seconds until the next one's."""
        for service in self._services:
            self._run_if_due(service)
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
        """Run each service on a thread of its own until `stop`: one that is slow makes no other late."""
        for service in self._services if not self._loops else ():
            loop = Supervised(
                f"legato-{service.name}",
                partial(self._run_if_due, service),
                every_s=service.every_s,
                longest_s=service.every_s,
                first_s=0.0,
            )
            self._loops.append(loop)
        for loop in self._loops:
            loop.start()

    def _run_if_due(self, service: Service) -> float:
        """Tick, when the time has come; returns seconds until the next one's."""
        now = self._clock.monotonic_s()
        if now >= self._next[service.name]:
            self._next[service.name] = now + service.every_s
            self._tick(service)
        return max(0.0, self._next[service.name] - self._clock.monotonic_s())

    def stop(self) -> None:
        """End after the present ticks. Safe to call twice, and before `start`."""
        for loop in self._loops:
            loop.stop(wait_s=None)
        self._loops = []


def _did_something(report: object) -> bool:
    """Whether any number of a report is above zero."""
    return isinstance(report, msgspec.Struct) and any(getattr(report, name) for name in report.__struct_fields__)
