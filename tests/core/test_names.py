"""Readable names: two words, each number its own until they run out."""

from legato.core.names import COMBINATIONS, readable_name


def test_every_number_has_a_name_of_its_own_until_they_repeat() -> None:
    names = [readable_name(n) for n in range(COMBINATIONS)]

    assert len(set(names)) == COMBINATIONS > 20_000
    assert readable_name(COMBINATIONS + 5) == names[5]
    assert all(name.isascii() and name.islower() and name.count("-") == 1 for name in names)
