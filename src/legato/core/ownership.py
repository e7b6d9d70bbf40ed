"""Who holds a flow run: one number, its epoch, raised when a holding begins and when one ends.

Odd: somebody holds the run; even: nobody does. A token is the odd number that a holder was given, and it equals the run's epoch exactly as
long as the holding lasts. So one comparison answers "is it still yours", a loss told twice is one by arithmetic, and a zombie is whoever
comes with any other number. Attempts are for people: they count tries.
"""

from __future__ import annotations


def is_held(epoch: int) -> bool:
    """Whether somebody holds a run of this epoch."""
    return epoch % 2 == 1


def ended(epoch: int) -> int:
    """The epoch after the holding has ended; the same when nobody held it."""
    return epoch + epoch % 2


def begun(epoch: int) -> int:
    """The epoch of the next holding, which is its holder's token."""
    return ended(epoch) + 1


def is_the_last_holder(token: int | None, epoch: int) -> bool:
    """Whether nobody has held the run since the one with this token, whose holding may have ended."""
    return token is not None and is_held(token) and ended(token) == ended(epoch)
