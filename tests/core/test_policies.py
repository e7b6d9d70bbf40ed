"""Cache policies as an algebra, and the reasons they give."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.core.caching import (
    DEFAULT,
    INPUTS,
    NONE,
    PARAMETERS,
    RUN,
    SOURCE,
    TASK,
    CacheEntry,
    CacheKeyFn,
    CachePolicy,
    age_text,
    as_policy,
    differences,
    key_of,
    why_missed,
    why_reused,
)
from legato.core.errors import UsageError
from legato.core.records import CacheAsk, Result

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def by_month(context: Any, parameters: dict[str, Any]) -> str:
    return str(parameters["month"])


policies = st.recursive(
    st.sampled_from([NONE, INPUTS, SOURCE, RUN, PARAMETERS, TASK, DEFAULT, INPUTS - "x", DEFAULT - "y", CacheKeyFn(by_month)]),
    lambda inner: st.tuples(inner, inner).map(lambda pair: pair[0] + pair[1]),
    max_leaves=5,
)


@given(policies, policies, policies)
def test_a_sum_asks_for_all_in_whatever_order(a: CachePolicy, b: CachePolicy, c: CachePolicy) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + a == a
    assert a + NONE == a
    assert hash(a + b) == hash(b + a)


@given(policies)
def test_a_policy_is_read_as_it_is_written(policy: CachePolicy) -> None:
    scope = {"NONE": NONE, "INPUTS": INPUTS, "SOURCE": SOURCE, "RUN": RUN, "PARAMETERS": PARAMETERS, "TASK": TASK}

    assert eval(repr(policy), {**scope, "by_month": CacheKeyFn(by_month)}) == policy


@given(policies, st.sampled_from("xyz"), st.sampled_from("xyz"))
def test_leaving_inputs_out_is_the_same_in_any_order_and_twice(policy: CachePolicy, one: str, other: str) -> None:
    base = INPUTS + policy

    assert base - one - other == base - other - one
    assert base - one - one == base - one
    assert one in (base - one).without


def test_only_a_policy_that_looks_at_inputs_can_leave_one_out() -> None:
    with pytest.raises(UsageError, match=r"SOURCE - 'x': this policy does not look at inputs\nwrite INPUTS - 'x'"):
        SOURCE - "x"


def test_only_none_caches_nothing() -> None:
    assert [bool(policy) for policy in (NONE, INPUTS, CacheKeyFn(by_month))] == [False, True, True]


def test_a_function_is_a_policy_and_a_number_is_none() -> None:
    assert as_policy(by_month) == CacheKeyFn(by_month)
    assert as_policy(None) == NONE
    with pytest.raises(UsageError, match=r"cache_policy is 3, which is no cache policy\ngive INPUTS"):
        as_policy(3)


@given(st.dictionaries(st.text(), st.text(), min_size=1), st.text())
def test_a_key_depends_on_every_part_and_on_the_task(parts: dict[str, str], other: str) -> None:
    name = next(iter(parts))
    changed = {**parts, name: parts[name] + "!"}

    assert key_of("t", parts) == key_of("t", dict(reversed(parts.items())))
    assert len({key_of("t", parts), key_of("t", changed), key_of("t2", parts)}) == 3


# -- reasons


def entry(**changes: Any) -> CacheEntry:
    made = NOON - timedelta(hours=2)
    facts = {"policy": "INPUTS", "parts": {"input:x": "1"}, "task_name": "load-0", "flow_run_name": "amber-heron"}
    return CacheEntry("load/k", Result(), made, **{**facts, **changes})


def ask(**changes: Any) -> CacheAsk:
    return CacheAsk(**{"key": "load/k2", "task_key": "load", "policy": "INPUTS", "parts": {"input:x": "2"}, **changes})


def test_a_hit_says_whose_result_it_is_how_old_and_why_it_fits() -> None:
    assert why_reused(entry(), NOON) == "reused the result of 'load-0' of run 'amber-heron', made 2 h ago (INPUTS; key load/k)"


def test_a_hit_on_a_deleted_run_s_result_says_so() -> None:
    assert why_reused(entry(task_name="", flow_run_name=""), NOON).startswith("reused the result of a run that was deleted, made 2 h ago")


@pytest.mark.parametrize(
    ("the_ask", "same_key", "latest", "why"),
    [
        (ask(), None, None, "not in the cache: no result of this task is stored"),
        (ask(refresh=True), entry(), entry(), "runs because refresh_cache is on"),
        (ask(), entry(expires_at=NOON - timedelta(minutes=3)), entry(), "not in the cache: the stored result expired 3 min ago"),
        (ask(), None, entry(), "not in the cache: input 'x' differs from the latest stored result, of 'load-0' of run 'amber-heron', made 2 h ago"),
        (
            ask(parts={"code:clean": "b", "input:x": "1", "run": "r"}),
            None,
            entry(parts={"code:clean": "a", "input:x": "1"}),
            (
                "not in the cache: the code of 'clean', the flow run differ from the latest stored result, "
                "of 'load-0' of run 'amber-heron', made 2 h ago"
            ),
        ),
        (
            ask(),
            None,
            entry(parts=None),
            "not in the cache: nothing is stored under its key; the latest stored result, of 'load-0' of run 'amber-heron', made 2 h ago",
        ),
    ],
)  # fmt: skip
def test_a_miss_says_why(the_ask: CacheAsk, same_key: CacheEntry | None, latest: CacheEntry | None, why: str) -> None:
    assert why_missed(the_ask, NOON, same_key=same_key, latest=[latest] if latest is not None else []) == why


def test_a_miss_is_told_by_the_stored_result_that_differs_least() -> None:
    """Two files, one task: what changed is the content of the first, and not which file it is."""
    first = entry(parts={"input:path": "a.txt", "file:path": "1"}, task_name="count-0")
    other = entry(parts={"input:path": "b.txt", "file:path": "7"}, task_name="count-1")
    now = ask(parts={"input:path": "a.txt", "file:path": "2"})

    for latest in ([other, first], [first, other]):
        said = why_missed(now, NOON, same_key=None, latest=latest)
        assert said.startswith("not in the cache: the file behind input 'path' differs from")
        assert "'count-0'" in said


def test_many_differences_are_counted() -> None:
    parts = {f"input:{name}": "1" for name in "abcde"}

    assert "input 'a', input 'b', input 'c' and 3 more differ from" in why_missed(ask(parts=parts), NOON, same_key=None, latest=[entry()])
    assert differences(parts, None) == []


@given(st.floats(min_value=0, max_value=1e8))
def test_an_age_is_told_in_its_largest_whole_unit(seconds: float) -> None:
    number, unit = age_text(seconds).split()
    size = {"s": 1, "min": 60, "h": 3600, "d": 86_400}[unit]

    assert int(number) * size <= round(seconds) < (int(number) + 1) * size
