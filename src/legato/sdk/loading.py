"""Finding flows in files: "path/to/file.py:flow", relative to a folder that is put on the import path."""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from legato.core.errors import NotFound, UsageError
from legato.core.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from legato.core.spelling import close_to
from legato.engine.parsing import parsed
from legato.engine.tracebacks import relink
from legato.flow_runners.options import SubprocessFlowRunner
from legato.sdk.flows import Flow
from legato.sdk.sources import is_own_file


def run_file(file: Path, root: Path | None = None) -> ModuleType:
    """Import a Python file by its path, under the name it has in its package, with its folder (or the package's) on the import path.

    `root`: the folder that it belongs to, for packages without an `__init__.py`. Raises `NotFound` when it is not there, and `UsageError`
    naming file and line when it cannot be run.
    """
    if not file.is_file():
        raise NotFound("file", str(file), hint=_near(file) or f"looked in {file.parent.absolute()}")
    path = file.resolve()
    name, top = _name_of(path, root.resolve() if root is not None else None)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} is no Python file", hint="give a .py file")
    _come_first(top)
    _make_way(top, path)
    if "." not in name:
        _make_way(path.parent, path)
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    try:
        if "." in name:
            importlib.import_module(name.rpartition(".")[0])
        sys.modules[name] = module  # pickling and type hints look a function's module up by name
        spec.loader.exec_module(module)
    except SyntaxError as error:
        _restore(name, before)
        raise UsageError(f"{error.filename}, line {error.lineno}: {error.msg}", hint=(error.text or "").strip()) from None
    except Exception as error:
        _restore(name, before)
        raise UsageError(
            f"{file} cannot be imported: {_where(error, path)}{type(error).__name__}: {_first_words(error)}", hint=_what_to_do(error)
        ) from error
    return module


def _near(file: Path) -> str:
    """What was probably meant by a file that is not there."""
    names = [one.name for one in file.parent.glob("*.py")] if file.parent.is_dir() else []
    close = close_to(file.name, names)
    return f"did you mean {file.parent / close[0]}?" if close else ""


def _name_of(path: Path, root: Path | None) -> tuple[str, Path]:
    """A file's module name, and the folder that its first part is found in: dotted for a file of a package, else its stem."""
    top, parts = path.parent, [path.stem]
    while (top / "__init__.py").is_file() and top.parent != top and top.name.isidentifier():
        parts.insert(0, top.name)
        top = top.parent
    if len(parts) == 1 and root is not None and path.is_relative_to(root) and path.parent != root and _imports_its_siblings(path):
        folders = path.parent.relative_to(root).parts
        if all(part.isidentifier() for part in folders):
            return ".".join([*folders, path.stem]), root
    return ".".join(parts), top


def _imports_its_siblings(path: Path) -> bool:
    """Whether a file says `from .other import …`: then it is part of a package, `__init__.py` or not."""
    try:
        tree = parsed(path.read_bytes())
    except (SyntaxError, ValueError):
        return False
    return any(isinstance(node, ast.ImportFrom) and node.level > 0 for node in ast.walk(tree))


def _come_first(folder: Path) -> None:
    """Have modules looked for in this folder before any other."""
    text = str(folder)
    if text in sys.path:
        sys.path.remove(text)
    sys.path.insert(0, text)


def _make_way(folder: Path, path: Path) -> None:
    """Modules of other folders that bear the name of one in this folder are forgotten: they would answer for it."""
    here = {entry.stem if entry.suffix == ".py" else entry.name for entry in folder.iterdir() if entry.suffix == ".py" or entry.is_dir()}
    in_the_way = {name for name in here if name in sys.modules and name != "__main__"}
    if not in_the_way:
        return  # the usual case, told without a look at each module: in a forked process that would copy a hundred pages
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in in_the_way:
            continue
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and is_own_file(file) and not Path(file).resolve().is_relative_to(folder) and Path(file).resolve() != path:
            del sys.modules[name]


def _restore(name: str, before: ModuleType | None) -> None:
    if before is None:
        sys.modules.pop(name, None)
    else:
        sys.modules[name] = before


def _what_to_do(error: Exception) -> str:
    if isinstance(error, UsageError):
        return error.hint
    if isinstance(error, TypeError) and (wrong := _WRONG_ARGUMENT.search(str(error))):
        return _about_argument(wrong.group(1) or wrong.group(2), error)
    if isinstance(error, NameError | AttributeError):
        meant = next((close for known in _known_to(error) if (close := close_to(error.name or "", known))), None)
        return f"did you mean {meant[0]}?" if meant else ""
    if isinstance(error, ModuleNotFoundError):
        return f"install {error.name} into this environment, or run where it is"
    return "" if isinstance(error, ImportError) else 'an import runs the top level of a file: calls belong below if __name__ == "__main__":'


def _first_words(error: Exception) -> str:
    return error.message if isinstance(error, UsageError) else str(error)


_WRONG_ARGUMENT = re.compile(r"[Uu]nexpected keyword argument '(\w+)'|'(\w+)' is an invalid keyword argument")
_UNITS = ("weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds")


def _known_to(error: NameError | AttributeError) -> list[Iterable[str]]:
    """The names that there are where one was not found: the file's own before those of Python."""
    if isinstance(error, AttributeError):
        return [dir(error.obj)]
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return [{*frame.f_locals, *frame.f_globals}, dir(builtins)]


def _about_argument(name: str, error: TypeError) -> str:
    """What to write in place of an argument that one of our own classes does not take."""
    line = (traceback.extract_tb(error.__traceback__) or [None])[-1]
    said = (line.line or "") if line is not None else ""
    if "IntervalSchedule" in said and name in _UNITS:
        return f"write IntervalSchedule(interval=timedelta({name}=…))"
    if "timedelta" in said and (unit := close_to(name, _UNITS)):
        return f"did you mean timedelta({unit[0]}=…)?"
    for made in (CronSchedule, RRuleSchedule, IntervalSchedule, SubprocessFlowRunner):
        if made.__name__ in said:
            close = close_to(name, made.__struct_fields__)
            return f"did you mean {close[0]}=?" if close else f"{made.__name__} takes {', '.join(made.__struct_fields__)}"
    return ""


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
    found = flows_of(run_file(file, folder))
    if not name:
        own = {n: f for n, f in found.items() if f.fn.__module__.rpartition(".")[2] == file.stem} or found
        if len(own) == 1:
            return next(iter(own.values()))
        which = ", ".join(own) or "none"
        raise UsageError(
            f"{path} defines {len(own)} flows: {which}", hint=f"say which: {path}:{next(iter(own))}" if own else "decorate one with @flow"
        )
    by_flow_name = {flow.name: flow for flow in found.values()}
    chosen = found.get(name) or by_flow_name.get(name)
    if chosen is None:
        close = close_to(name, found)
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
