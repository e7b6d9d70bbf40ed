"""The pure core: what Legato knows and decides, without clock, randomness, disk, network, threads or logging.

Everything here is a function of its arguments, so a decision can be tested without a fixture and replayed from a seed.
"""

import sys


def _import_msgspec_lightly() -> None:
    """Import msgspec without typing_extensions, where that is installed: it would use two names of it that the standard library has
    as well, and pay 25 ms for them, twice the start of an interpreter. Whoever needs typing_extensions later imports it as ever.
    """
    if "msgspec" in sys.modules or "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # how the import system is told that there is no such module
    try:
        import msgspec  # noqa: F401, PLC0415 for its place in sys.modules
    finally:
        del sys.modules["typing_extensions"]


_import_msgspec_lightly()
