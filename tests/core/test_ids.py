"""Ids: valid UUIDs of version 7 that sort by time."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from legato.core.ids import is_id, uuid7
from legato.system import new_id

MS = st.integers(0, 2**48 - 1)
BITS = st.integers(0, 2**74 - 1)


@given(ms=MS, bits=BITS)
def test_an_id_is_a_uuid_of_version_seven_with_its_time_in_front(ms: int, bits: int) -> None:
    text = uuid7(ms, bits)
    parsed = uuid.UUID(text)

    assert (parsed.version, parsed.variant, str(parsed)) == (7, uuid.RFC_4122, text)
    assert parsed.int >> 80 == ms
    assert is_id(text)


@given(a=st.tuples(MS, BITS), b=st.tuples(MS, BITS))
def test_ids_sort_by_time_and_differ_with_their_bits(a: tuple[int, int], b: tuple[int, int]) -> None:
    assert (uuid7(*a) < uuid7(*b)) == (a < b)


def test_ids_of_one_process_rise_and_never_repeat() -> None:
    ids = [new_id() for _ in range(2000)]

    assert len(set(ids)) == 2000
    assert [each[:13] for each in ids] == sorted(each[:13] for each in ids)


def test_other_texts_are_no_ids() -> None:
    good = uuid7(1, 1)
    for text in ("", good[:-1], good + "0", good.upper().replace("0", "A"), good + "\n", "g" + good[1:]):
        assert not is_id(text)
