"""The page of guarantees names tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reference" / "guarantees.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


def test_every_guarantee_has_its_line_and_a_proof() -> None:
    lines = [line for line in PAGE.splitlines() if re.match(r"\| G\d+ ", line)]
    assert [line.split("|")[1].strip() for line in lines] == [f"G{n}" for n in range(1, 17)]
    assert all("`tests/" in line for line in lines)


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_test_that_the_page_names_is_there(file: str, test: str) -> None:
    source = (ROOT / file).read_text()
    assert not test or re.search(rf"^def {test}\b", source, re.MULTILINE)
