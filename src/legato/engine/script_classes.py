"""Classes that a script defines, in stored values: found again in the script, however it is run, so that a value that was stored is of the very
class that the code knows. Pickling sends the classes of `__main__` whole, and each attempt would have another class of that name.
"""

from __future__ import annotations

import functools
import io
import os
import pickle
import sys
from types import ModuleType
from typing import Any

from legato.engine.kept_whole import kept_whole


def dumps(value: Any) -> bytes:
    """A value as bytes. Raises whatever its own pickling raises."""
    buffer = io.BytesIO()
    _pickler_class()(buffer, pickle.DEFAULT_PROTOCOL).dump(value)
    return buffer.getvalue()


def loads(data: bytes) -> Any:
    """The value again. Raises whatever its own unpickling raises."""
    return _Unpickler(io.BytesIO(data)).load()


@functools.cache
def _pickler_class() -> type[Any]:
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, type) and obj.__module__ == "__main__":
                file = getattr(sys.modules["__main__"], "__file__", None)
                if file is not None and _in(sys.modules["__main__"], obj.__qualname__) is obj:
                    return found_or_made, (os.path.realpath(file), obj.__qualname__, cloudpickle.dumps(obj))
            if (kept := kept_whole(obj)) is not None:
                return kept
            return super().reducer_override(obj)

    return Pickler


def found_or_made(file: str, name: str, data: bytes) -> type:
    """The class of that name in the script, if this process has run or imported it; else one made from what was stored."""
    module = _loaded_from(file)
    found = _in(module, name) if module is not None else None
    made: type = found if isinstance(found, type) else pickle.loads(data)  # noqa: S301 written by this user's own flows: see docs/design/pickled-results.md
    return made


def _loaded_from(file: str) -> ModuleType | None:
    """The module that was loaded from a file: as a script, or under the name that the file gives it."""
    name = os.path.basename(file).removesuffix(".py")  # noqa: PTH119 pathlib is not loaded for this
    for one in ("__main__", name):
        module = sys.modules.get(one)
        place = getattr(module, "__file__", None)
        if place is not None and os.path.realpath(place) == file:
            return module
    return None


def _in(module: ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


class _Unpickler(pickle.Unpickler):
    """Finds what was stored by a module's name in the script that this process runs, if that is the module's file."""

    def find_class(self, module: str, name: str) -> Any:
        main = sys.modules["__main__"]
        file = getattr(main, "__file__", None)
        if module not in sys.modules and file is not None and os.path.basename(file) == f"{module}.py":  # noqa: PTH119
            found = _in(main, name)
            if found is not None:
                return found
        return super().find_class(module, name)
