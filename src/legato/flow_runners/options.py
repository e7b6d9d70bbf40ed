"""What a deployment says of its flow runner: a type and its options, as they are recorded."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from legato.core.errors import UsageError


class SubprocessFlowRunner(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type", tag="subprocess"):
    """Start each run as a process on the agent's machine.

    `python`: the interpreter (a path, such as a virtual or conda environment's; default: the agent's own). `env`: variables added to the
    agent's. `stream_output`: copy what the process prints to the agent's standard error. `memory_mb`, `processes`: what a run, with all that it
    starts, may take; one that takes more is ended, and says so. 0: no limit. They are looked at a few times a second (Linux only).
    `linger_s`: how many seconds its process may go on when the run is over, as it does for threads that are no daemons; then it is ended, with
    all that it has started. 0: as long as it likes, and as long it keeps a place of its agent's.
    """

    python: str = ""
    env: dict[str, str] = {}
    stream_output: bool = True
    memory_mb: int = 0
    processes: int = 0
    linger_s: float = 60.0

    def __post_init__(self) -> None:
        """Raises `UsageError` for a value that no agent could start a run with: where it is written, and not when the run is due."""
        try:
            msgspec.convert({name: getattr(self, name) for name in self.__struct_fields__}, _Options)
        except msgspec.ValidationError as error:
            name = str(error).rpartition("$.")[2].partition("`")[0].partition("[")[0]
            raise UsageError(f"SubprocessFlowRunner has {name}={getattr(self, name, None)!r}: {error}", hint=_MEANT.get(name, "")) from None


class _Options(msgspec.Struct):
    """The same, with the values that they may have."""

    python: str
    env: dict[str, str]
    stream_output: bool
    memory_mb: Annotated[int, msgspec.Meta(ge=0)]
    processes: Annotated[int, msgspec.Meta(ge=0)]
    linger_s: Annotated[float, msgspec.Meta(ge=0)]


_MEANT = {
    "python": "give the path of an interpreter as text",
    "env": 'give text for each name: env={"REGION": "eu"}',
    "stream_output": "give True or False",
    "memory_mb": "give a whole number of megabytes; 0 is no limit",
    "processes": "give a whole number; 0 is no limit",
    "linger_s": "give a number of seconds; 0 is as long as it likes",
}


FlowRunner = SubprocessFlowRunner
KNOWN = ("subprocess",)
"""The types of flow runners that there are."""


def to_record(runner: FlowRunner | None) -> dict[str, Any]:
    """The options as they are recorded with a deployment."""
    record: dict[str, Any] = msgspec.to_builtins(runner or SubprocessFlowRunner())
    return record


def from_record(record: dict[str, Any]) -> FlowRunner:
    """The options of a recorded flow runner. Raises `UsageError` for a type or option this Legato does not know."""
    try:
        return msgspec.convert({"type": "subprocess", **record}, FlowRunner)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"flow runner {record.get('type')!r} cannot be used here: {error}", hint=f"this agent knows: {', '.join(KNOWN)}"
        ) from None
