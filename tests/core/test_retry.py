"""Retry arithmetic is a function of its arguments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.core.retry import RetryPolicy, delay_before_retry, exponential_backoff


@pytest.mark.parametrize(
    ("delay", "delays"),
    [
        (2.5, [2.5, 2.5, 2.5]),
        ([1, 5], [1, 5, 5]),
        ([], [0, 0, 0]),
        (exponential_backoff(1, maximum_s=3), [1, 2, 3]),
        (lambda attempt: attempt * 10, [10, 20, 30]),
    ],
)
def test_the_delay_before_each_retry(delay: object, delays: list[float]) -> None:
    policy = RetryPolicy(retries=3, delay=delay)  # type: ignore[arg-type]

    assert [delay_before_retry(policy, attempt, 0.5) for attempt in (1, 2, 3)] == delays
    assert delay_before_retry(policy, 4, 0.5) is None


def test_without_retries_there_is_none() -> None:
    assert delay_before_retry(RetryPolicy(), 1, 0.5) is None


@given(delay=st.floats(0, 1e6), factor=st.floats(0, 1), jitter=st.floats(0, 1, exclude_max=True))
def test_jitter_stays_within_its_factor(delay: float, factor: float, jitter: float) -> None:
    got = delay_before_retry(RetryPolicy(1, delay, factor), 1, jitter)

    assert got is not None
    assert delay * (1 - factor) * 0.999999 <= got <= delay * (1 + factor) * 1.000001


def test_backoff_never_overflows() -> None:
    assert exponential_backoff(1)(10_000) == 3600
