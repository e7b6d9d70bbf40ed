"""What is typed after `-p` comes to the flow as what it was typed for, is text, or is refused: never as another value."""

import json
import math
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato import flow
from legato.cli.parameters import as_json_or_text, as_typed, parse_parameters, types_of
from legato.core.errors import LegatoError, UsageError
from legato.sdk.flow_calls import compiled_flow
from legato.store.port import Store

from tests.cli.conftest import Command, add_deployment, add_run


class Colour(Enum):
    RED = "red"
    ONE = "1"


ROWS: list[tuple[Any, str, Any]] = [
    (str, "00501", "00501"),
    (str, "12", "12"),
    (str, "null", "null"),
    (str | None, "12", "12"),
    (str | None, "1.50", "1.50"),
    (str | None, "true", "true"),
    (str | None, '{"a": 1}', '{"a": 1}'),
    (str | None, "null", None),
    (Optional[str], "10001", "10001"),  # noqa: UP045 as many write it
    (str | int, "12", 12),
    (int | None, "12", 12),
    (int, str(2**70), 2**70),
    (float, "1e5", 1e5),
    (Decimal, "1.10", Decimal("1.10")),
    (Decimal, "12345678901234567.89", Decimal("12345678901234567.89")),
    (Decimal, "0.10000000000000000001", Decimal("0.10000000000000000001")),
    (Decimal | None, "12345678901234567.89", Decimal("12345678901234567.89")),
    (bool, "true", True),
    (Colour, "1", Colour.ONE),
    (Literal["1", "2"], "1", "1"),
    (Literal[1, 2], "1", 1),
    (date, "2024-02-29", date(2024, 2, 29)),
    (datetime, "2024-02-29T01:00:00", datetime(2024, 2, 29, 1)),
    (Path, "12", Path("12")),
    (list[str], '["1", "2"]', ["1", "2"]),
    (dict[str, int], '{"a": 1}', {"a": 1}),
    (str | None, "1e400", "1e400"),
    (Decimal, "1e400", Decimal("1e400")),
    (Any, "NaN", "NaN"),
    (Any, "-Infinity", "-Infinity"),
    (Any, "[1, NaN]", "[1, NaN]"),
    (Any, "1_000", "1_000"),
    (Any, "0.1", 0.1),
]


def flow_with(annotation: Any) -> Any:
    def main(v: Any) -> Any:
        return v

    main.__annotations__["v"] = annotation
    return flow(main)


def locally(main: Any, text: str) -> Any:
    return parse_parameters([f"v={text}"], types_of(main))["v"]


def by_schema(main: Any, text: str) -> Any:
    """As for a deployment, of which no more is known than its recorded schema."""
    schema = json.loads(json.dumps(compiled_flow(main).signature.json_schema()))
    return parse_parameters([f"v={text}"], lambda name: schema["properties"].get(name, {}))["v"]


@pytest.mark.parametrize("read", [locally, by_schema], ids=lambda read: read.__name__)
@pytest.mark.parametrize(("annotation", "text", "wanted"), ROWS, ids=[f"{row[0]}-{row[1][:20]}" for row in ROWS])
def test_a_parameter_comes_as_what_was_typed(read: Callable[[Any, str], Any], annotation: Any, text: str, wanted: Any) -> None:
    main = flow_with(annotation)
    sent = json.loads(json.dumps(read(main, text), allow_nan=False))

    assert compiled_flow(main).signature.validate({"v": sent}) == {"v": wanted}


@pytest.mark.parametrize("read", [locally, by_schema], ids=lambda read: read.__name__)
@pytest.mark.parametrize("annotation", [Any, float, list[float], int], ids=str)
@pytest.mark.parametrize("text", ["1e400", "[1, -1e400]", "[" * 100_000], ids=["large", "large inside", "deep"])
def test_what_no_json_holds_is_refused(read: Callable[[Any, str], Any], annotation: Any, text: str) -> None:
    with pytest.raises(UsageError, match=r"too large|too deeply"):
        read(flow_with(annotation), text)


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_no_digit_of_a_decimal_is_lost(number: Decimal) -> None:
    schema = compiled_flow(flow_with(Decimal)).signature.json_schema()["properties"]["v"]

    assert Decimal(str(as_typed(str(number), schema))) == number


@given(st.text() | st.from_regex(r"-?[0-9]{1,40}(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?", fullmatch=True))
def test_what_is_typed_is_json_that_can_be_sent_or_the_text(text: str) -> None:
    try:
        value = as_json_or_text(text)
    except UsageError as error:
        assert "too large" in str(error)  # noqa: PT017 of generated texts only some are
        return

    assert value == text or json.loads(json.dumps(value, allow_nan=False)) == value


@pytest.mark.parametrize("odd", ["report-\udcff", '"\\ud800"', '["\\ud800"]', '{"\\ud800": 1}'])
@pytest.mark.parametrize(
    "line",
    [("deployment", "run", "etl/prod", "-p"), ("variable", "set", "v"), ("run", "fork", "amber-heron", "-p")],
    ids=lambda line: line[0],
)
def test_what_is_sent_to_others_is_unicode_or_refused(line: tuple[str, ...], odd: str, legato: Command, store: Store) -> None:
    deployment = add_deployment(store, parameters={}, parameter_schema={})
    add_run(store, "amber-heron", deployment_id=deployment.id)

    refused = legato(*line, f"a={odd}" if "-p" in line else odd)

    assert refused.code == 2
    assert "is no Unicode" in refused.err


CANNOT_BE_SENT: dict[str, Any] = {
    "nan": math.nan,
    "inf": [1, math.inf],
    "tuple": (1, 2),
    "number as key": {1: 2},
    "set": {1},
    "bytes": b"x",
    "no Unicode": "report-\udcff",
    "no Unicode as key": {"report-\udcff": 1},
    "large": ["y" * 100] * 2_000,
    "an object": object(),
    "a date": date(2024, 2, 29),
}
ANNOTATED: list[tuple[Any, Any]] = [
    (tuple[int, int], (1, 2)),
    (set[int], {1}),
    (date, date(2024, 2, 29)),
    (Path, Path("a/b")),
    (Decimal, Decimal("1.10")),
    (Colour, Colour.RED),
    (list[int], [1, 2]),
    (dict[int, int], {1: 2}),
    (str, "é"),
    (Any, {"a": [1, None, "b", 1.5, True]}),
]


@pytest.mark.parametrize("kind", CANNOT_BE_SENT)
def test_a_deployment_refuses_a_parameter_that_its_runs_would_be_given_as_another(kind: str, prepared: Callable[..., Any]) -> None:
    with pytest.raises(LegatoError, match=r"(?s)parameter 'v' is a .* that its runs would be given as .*annotate"):
        prepared(flow_with(Any), CANNOT_BE_SENT[kind])


@pytest.mark.parametrize(("annotation", "value"), ANNOTATED, ids=[str(annotation) for annotation, _ in ANNOTATED])
def test_a_deployments_parameter_comes_back_as_its_annotation_says(annotation: Any, value: Any, prepared: Callable[..., Any]) -> None:
    main = flow_with(annotation)
    recorded = json.loads(json.dumps(prepared(main, value).parameters))

    assert compiled_flow(main).signature.validate(recorded) == {"v": value}


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., Any]:
    """The record of a deployment with one parameter."""
    from legato import Deployment
    from legato.system import SystemClock

    def record(main: Any, value: Any) -> Any:
        deployed = Deployment(main, name="d", parameters={"v": value})
        deployed.entrypoint = "x.py:main"
        return deployed.record(root=tmp_path, bundle=None, now=SystemClock().now())

    return record
