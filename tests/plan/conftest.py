"""Flows of these tests are recorded in a store of their own."""

from collections.abc import Iterator

import pytest

from legato.testing import Harness, harness


@pytest.fixture
def h() -> Iterator[Harness]:
    with harness() as opened:
        yield opened
