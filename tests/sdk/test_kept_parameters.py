"""What a run was given is what it is given when it is run again; where that cannot be, it is said, and nothing else is put in its place."""

import datetime as dt
import enum
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest

from legato import flow
from legato.core.errors import ParameterError, UsageError
from legato.testing import Harness, harness


@pytest.fixture
def h() -> Iterator[Harness]:
    with harness() as made:
        yield made


class Kind(enum.Enum):
    A = "a"


class Model(pydantic.BaseModel):
    n: int = 1
    at: dt.datetime = dt.datetime(2024, 1, 1)


@dataclass
class Row:
    n: int


KEPT: dict[str, tuple[Any, Any]] = {
    "number": (int, 3),
    "text": (Any, "a"),
    "nested": (Any, {"a": [1, {"b": None}]}),
    "path": (Path, Path("a")),
    "instant": (dt.datetime, dt.datetime(2024, 1, 1, tzinfo=dt.UTC)),
    "tuple": (tuple[int, str], (1, "a")),
    "set": (set[int], {1, 2}),
    "enum": (Kind, Kind.A),
    "model": (Model, Model(n=2)),
    "dataclass": (Row, Row(1)),
    "keys that are numbers": (dict[int, str], {1: "a"}),
}

LOST: dict[str, tuple[Any, Any]] = {
    "frame": (Any, pd.DataFrame({"a": [1]})),
    "array": (Any, np.arange(3)),
    "tuple": (Any, (1, 2)),
    "set": (Any, {1}),
    "path": (Any, Path("a")),
    "keys that are numbers": (Any, {1: "a"}),
    "object": (Any, Row(1)),
    "what is too large": (Any, "x" * 100_000),
    "not a number": (Any, float("nan")),
    "secret": (pydantic.SecretStr, pydantic.SecretStr("a")),
}


def failing(annotation: Any) -> Any:
    def main(x):  # type: ignore[no-untyped-def]
        seen.append(x)
        if len(seen) == 1:
            raise ValueError("here")
        return "ran"

    main.__annotations__["x"] = annotation
    return flow(main)


seen: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


@pytest.mark.parametrize("kind", KEPT)
def test_what_is_kept_is_given_again(h: Harness, kind: str) -> None:
    annotation, value = KEPT[kind]
    main = failing(annotation)
    with pytest.raises(ValueError, match="here"):
        main(value)

    assert main.resume(h.flow_runs()[0].id) == "ran"
    assert type(seen[1]) is type(seen[0])
    assert seen[1] == seen[0]


@pytest.mark.parametrize("kind", LOST)
def test_what_is_not_kept_is_refused_by_name_and_type(h: Harness, kind: str) -> None:
    annotation, value = LOST[kind]
    main = failing(annotation)
    with pytest.raises(ValueError, match="here"):
        main(value)

    with pytest.raises(UsageError, match=rf"x \({type(value).__qualname__}\)"):
        main.resume(h.flow_runs()[0].id)
    assert len(seen) == 1


def test_what_was_given_by_default_is_given_by_default_again(h: Harness) -> None:
    frame = pd.DataFrame({"a": [1]})

    @flow
    def main(x: Any = frame, n: int = 1) -> str:
        seen.append((x, n))
        if len(seen) == 1:
            raise ValueError("here")
        return "ran"

    with pytest.raises(ValueError, match="here"):
        main(n=3)

    assert main.resume(h.flow_runs()[0].id) == "ran"
    assert seen[1][0] is frame
    assert seen[1][1] == 3


def test_a_plan_takes_its_parameters_as_a_run_does() -> None:
    @flow
    def main(path: Path, n: int = 1) -> Any:
        return [path.suffix, n]

    assert main.plan(path="a.csv").parameters["path"] == main.plan(path=Path("a.csv")).parameters["path"]
    with pytest.raises(ParameterError, match="'n' does not fit"):
        main.plan(path="a.csv", n="many")
