"""Who made which value is remembered for arrows only: no value is kept alive by it, and no arrow is drawn to the wrong run."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from legato import flow, task
from legato.engine.makers import Makers
from legato.testing import Harness


class Data:
    """Something large."""


KINDS: dict[str, Callable[[Data], Any]] = {
    "itself": lambda data: data,
    "a list": lambda data: [data],
    "a tuple": lambda data: (data, 1),
    "a dict": lambda data: {"a": data},
    "a nested list": lambda data: [[data], {"b": (data,)}],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_that_nobody_holds_is_freed(h: Harness, kind: str) -> None:
    made: list[weakref.ref[Data]] = []

    @task
    def make() -> Any:
        data = Data()
        made.append(weakref.ref(data))
        return KINDS[kind](data)

    @task
    def use(value: Any) -> None:
        pass

    @flow
    def main() -> int:
        for _ in range(20):
            value = make()
            use(value)
            del value
        gc.collect()
        use(None)
        gc.collect()
        return sum(ref() is not None for ref in made)

    assert main() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_is_given_it_depends_on_the_run_that_made_it(h: Harness, kind: str) -> None:
    @task
    def make() -> Any:
        return KINDS[kind](Data())

    @task
    def use(value: Any, _: Any = None) -> None:
        pass

    @flow
    def main() -> None:
        use(make())
        use([make()])
        use({"x": make()}, make())

    main()

    runs = h.task_runs()
    makers = [run.id for run in runs if run.name.startswith("make")]
    uses = [run.upstream for run in runs if run.name.startswith("use")]
    assert uses == [(makers[0],), (makers[1],), (makers[2], makers[3])]


def test_a_value_inside_another_is_still_its_first_makers(h: Harness) -> None:
    makers, x, y = Makers(), Data(), Data()
    both = [x, y]
    makers.made(x, "a")
    makers.made(both, "b")

    assert [makers.of(value) for value in (x, y, both)] == ["a", "b", "b"]


def test_an_address_that_is_used_again_is_nobodys() -> None:
    makers = Makers()
    for n in range(200):
        makers.made([n], f"run {n}")
        makers.forget_idle()
        assert makers.of([object()]) is None
