"""Cache keys: equal for equal work, different for different work, in every process."""

import subprocess
import sys

import pytest

from legato.core.caching import cache_key, hash_inputs
from legato.core.errors import UsageError


def test_order_does_not_matter_where_it_has_no_meaning() -> None:
    assert hash_inputs({"a": 1, "b": 2}) == hash_inputs({"b": 2, "a": 1})
    assert hash_inputs({"s": {"a", "b", "c"}}) == hash_inputs({"s": {"c", "b", "a"}})


@pytest.mark.parametrize(
    ("one", "other"),
    [({"x": 1, "y": 2}, {"y": 2, "x": 1}), ([1, 2], [2, 1]), (1, "1"), (1, 2), (None, 0), (b"x", "x"), ({"a": 1}, {"a": 2})],
)
def test_different_values_have_different_hashes(one: object, other: object) -> None:
    assert hash_inputs({"a": one}) != hash_inputs({"a": other})
    assert hash_inputs({"a": one}) != hash_inputs({"b": one})


def test_the_hash_is_the_same_in_another_process() -> None:
    program = "from legato.core.caching import hash_inputs; print(hash_inputs({'s': {'a', 'b', 'zz'}, 'n': [1, 2.5, None]}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == hash_inputs({"n": [1, 2.5, None], "s": {"zz", "b", "a"}})


def test_a_value_without_a_stable_hash_is_named() -> None:
    with pytest.raises(UsageError, match=r"argument 'model' of type object .*\n.*cache_key_fn"):
        hash_inputs({"n": 1, "model": object()})


def test_two_tasks_with_equal_inputs_are_kept_apart() -> None:
    assert cache_key("jobs.a", "h") != cache_key("jobs.b", "h")
