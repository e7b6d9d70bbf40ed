"""A flow's parameters, as the undecorated function, pydantic and a form would read them."""

from typing import Annotated, Any

import pydantic
import pytest

from legato import flow
from legato.core.errors import ParameterError
from legato.sdk.flow_calls import compiled_flow

# ruff: noqa: B008, RUF013 as people write it


@flow
def fielded(
    a: int = pydantic.Field(3, ge=1, description="how many"),
    b: list[int] = pydantic.Field(default_factory=list),
    c: str = pydantic.Field(..., min_length=2),
    d: Annotated[int, pydantic.Field(le=9)] = 2,
) -> tuple[Any, ...]:
    b.append(1)
    return a, b, c, d


@flow
def optional(n: int = None, *, name: str = None) -> tuple[Any, Any]:  # type: ignore[assignment]
    return n, name


def test_fields_give_defaults_and_bounds() -> None:
    assert fielded(c="ok") == (3, [1], "ok", 2)
    assert fielded(c="ok") == (3, [1], "ok", 2)  # a list of its own each time
    assert fielded(5, [7], c="ok", d=9) == (5, [7, 1], "ok", 9)


@pytest.mark.parametrize(
    ("given", "said"),
    [({"c": "ok", "a": 0}, "'a'"), ({"c": "x"}, "'c'"), ({}, "'c'"), ({"c": "ok", "d": 10}, "'d'"), ({"c": "ok", "b": 3}, "'b'")],
)
def test_what_does_not_fit_a_field_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        fielded(**given)


@pytest.mark.parametrize("given", [{}, {"n": None}, {"n": 3}, {"name": "x"}, {"n": "4"}])
def test_a_default_of_none_may_be_left_as_it_is(given: dict[str, Any]) -> None:
    assert optional(**given) == (int(given["n"]) if given.get("n") else None, given.get("name"))


def test_forms_know_of_fields_and_of_none() -> None:
    schema = compiled_flow(fielded).signature.json_schema()
    assert schema["required"] == ["c"]
    assert (schema["properties"]["a"]["default"], schema["properties"]["a"]["minimum"]) == (3, 1)
    assert "default" not in schema["properties"]["b"]
    nullable = compiled_flow(optional).signature.json_schema()["properties"]["n"]
    assert nullable["anyOf"][-1] == {"type": "null"}


def test_a_default_that_fits_is_converted_and_one_that_does_not_stays() -> None:
    class Place(pydantic.BaseModel):
        name: str

    @flow
    def main(place: Place = {"name": "Rome"}, n: int = None, many: int = "x") -> list[Any]:  # type: ignore[assignment]  # noqa: B006 what people write
        return [type(place).__name__, n, many]

    assert main() == ["Place", None, "x"]
