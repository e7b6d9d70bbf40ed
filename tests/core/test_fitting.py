"""What is refused before a run is made that can only fail, and what is left to the flow."""

import datetime as dt
from typing import Any, Literal

import pydantic
import pytest

from legato.core.errors import ParameterError
from legato.core.fitting import check_parameters, fits


class City(pydantic.BaseModel):
    name: str
    people: int = pydantic.Field(ge=0, default=1)
    near: list["City"] = []


TYPES: list[tuple[Any, list[Any], list[Any]]] = [
    (int, [1, "3", 2.0, -5], ["many", 1.5, None, [1], {}, ""]),
    (float, [1, 1.5, "1e3"], ["x", None, [1]]),
    (bool, [True, "yes", 0, "off"], ["perhaps", 2, None, []]),
    (str, ["", "1"], [1, None, ["a"]]),
    (int | None, [None, 3], ["many", []]),
    (list[int], [[], [1, "2"]], ["1", [1, "x"], {"a": 1}, None]),
    (dict[str, int], [{}, {"a": 1}], [[], "x", None]),
    (Literal["a", "b"], ["a"], ["c", 1, None]),
    (dt.date, ["2026-01-31", 0], [[], None]),
    (City, [{"name": "Rome"}, {"name": "Oslo", "near": [{"name": "Moss"}]}], [{}, {"name": 1}, {"name": "a", "people": -1}, {"name": "a", "near": [{}]}, "Rome"]),
    (Any, [None, 1, {}], []),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "good", "bad"), TYPES, ids=lambda one: str(one)[:30])
def test_it_refuses_nothing_that_pydantic_takes_and_what_no_reading_takes(type_: Any, good: list[Any], bad: list[Any]) -> None:
    adapter = pydantic.TypeAdapter(type_)
    schema = adapter.json_schema()

    for value in good:
        adapter.validate_python(value)
        assert fits(value, schema, schema.get("$defs", {})), value
    for value in bad:
        assert not fits(value, schema, schema.get("$defs", {})), value


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"n": 1}, ""),
        ({}, "needs a value for 'n'"),
        ({"n": 1, "m": 2}, "has no parameter 'm'"),
        ({"n": "many"}, "should be of type integer, and 'many' is not"),
    ],
)
def test_names_missing_ones_and_types_are_checked(values: dict[str, Any], says: str) -> None:
    schema = {"properties": {"n": {"type": "integer"}}, "required": ["n"]}
    if not says:
        check_parameters(values, schema, "flow 'f'")
        return

    with pytest.raises(ParameterError, match=says):
        check_parameters(values, schema, "flow 'f'")


def test_a_schema_without_end_is_not_followed_without_end() -> None:
    endless = {"$ref": "#/$defs/x"}

    assert fits(1, endless, {"x": endless})
