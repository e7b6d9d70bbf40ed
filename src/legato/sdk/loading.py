"""Finding flows in files: "path/to/file.py:flow", relative to a folder that is put on the import path."""

from __future__ import annotations

import difflib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from legato.core.errors import NotFound, UsageError
from legato.engine.tracebacks import relink
from legato.sdk.flows import Flow


def run_file(file: Path) -> ModuleType:
    """Import a Python file by its path, with its folder on the import path.

    Raises `NotFound` when it is not there, and `UsageError` naming file and line when it cannot be run.
    """
    if not file.is_file():
        raise NotFound("file", str(file), hint="check the path")
    path = file.resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} is no Python file", hint="give a .py file")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module  # pickling and type hints look a function's module up by name
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UsageError(f"{error.filename}, line {error.lineno}: {error.msg}", hint=(error.text or "").strip()) from None
    except Exception as error:
        _restore(path.stem, before)
        raise UsageError(
            f"{file} cannot be imported: {_where(error, path)}{type(error).__name__}: {error}", hint=_what_to_do(error)
        ) from error
    return module


def _restore(name: str, before: ModuleType | None) -> None:
    if before is None:
        sys.modules.pop(name, None)
    else:
        sys.modules[name] = before


def _what_to_do(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"install {error.name} into this environment, or run where it is"
    return "" if isinstance(error, ImportError) else 'an import runs the top level of a file: calls belong below if __name__ == "__main__":'


def _where(error: BaseException, path: Path) -> str:
    relink(error)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    return f"line {lines[-1]}: " if lines else ""


def flows_of(module: ModuleType) -> dict[str, Flow[Any, Any]]:
    """The flows a module defines, by the name of the variable that holds them."""
    return {name: value for name, value in vars(module).items() if isinstance(value, Flow)}


def load_flow(entrypoint: str, folder: Path) -> Flow[Any, Any]:
    """The flow of "file.py:flow" under `folder`. Without ":flow" the file must define exactly one.

    Raises `NotFound` for a file or flow that is not there, with the ones that are.
    """
    path, _, name = entrypoint.partition(":")
    file = folder / path
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    found = flows_of(run_file(file))
    if not name:
        own = {n: f for n, f in found.items() if f.fn.__module__ == file.stem} or found
        if len(own) == 1:
            return next(iter(own.values()))
        which = ", ".join(own) or "none"
        raise UsageError(
            f"{path} defines {len(own)} flows: {which}", hint=f"say which: {path}:{next(iter(own))}" if own else "decorate one with @flow"
        )
    by_flow_name = {flow.name: flow for flow in found.values()}
    chosen = found.get(name) or by_flow_name.get(name)
    if chosen is None:
        close = difflib.get_close_matches(name, found, n=1)
        raise NotFound(
            f"flow in {path}", name, hint=f"did you mean {close[0]}?" if close else f"it defines: {', '.join(found) or 'no flow'}"
        )
    return chosen


def entrypoint_of(flow: Flow[Any, Any], folder: Path) -> str:
    """Where a flow is found again, "file.py:flow", relative to `folder`. Raises `UsageError` when it is defined elsewhere."""
    file = Path(flow.fn.__code__.co_filename).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise UsageError(
            f"flow '{flow.name}' is defined in {file}, outside of {folder}, so it would not be in the bundle",
            hint="give the deployment path=… of a folder that holds both, or put the deployment file beside the flow",
        )
    return f"{file.relative_to(folder.resolve()).as_posix()}:{flow.fn.__name__}"
