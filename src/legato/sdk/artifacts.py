"""Artifacts made by user code: Markdown, tables, links, images and progress, kept with the run that made them, or with none.

Plain functions for sync and async code alike: what they make goes into the process's outbox, as log lines do, so none of them waits for a
server, and a server that is away loses nothing.
"""

from __future__ import annotations

import math
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar, overload

import msgspec

from legato.core.artifacts import LARGEST_DATA, check_key, percent_of
from legato.core.errors import UsageError
from legato.core.records import Artifact, ArtifactKind
from legato.engine.images import image_data
from legato.engine.process import Engine
from legato.engine.shell import CURRENT, FlowShell
from legato.sdk.process import current_engine, current_store
from legato.store.rows import storable
from legato.system import new_id, now

LONGEST_CELL = 10_000
"""Characters of one cell that is no JSON value; a longer one is cut and says so."""

_REMEMBERED = 1_000
"""Progress artifacts under way that this process knows by heart; of others the store is asked."""

_T = TypeVar("_T")
_encode = msgspec.json.Encoder().encode


# ---------------------------------------------------------------------- markdown, tables, links, images


def create_markdown_artifact(markdown: str, *, key: str | None = None, title: str = "", description: str = "") -> str:
    """A text in Markdown, kept with the run. Returns the artifact's id. The same `key` again makes the next version of it."""
    return _show(ArtifactKind.MARKDOWN, _text(markdown, "markdown"), key, title, description).id


def create_table_artifact(table: Any, *, key: str | None = None, title: str = "", description: str = "") -> str:
    """A table, kept with the run: a list of dicts, a dict of lists, or a data frame (pandas, polars). Returns the artifact's id.

    Cells that are no JSON values are shown as text. Raises `UsageError` when it is larger than 1 MB: show its head, store the rest.
    """
    columns, rows = _columns_and_rows(table)
    data = {"columns": [str(name) for name in columns], "rows": [[_cell(value) for value in row] for row in rows]}
    return _show(ArtifactKind.TABLE, data, key, title, description).id


def create_link_artifact(link: str, link_text: str = "", *, key: str | None = None, title: str = "", description: str = "") -> str:
    """A link, kept with the run. Returns the artifact's id."""
    data = {"url": _text(link, "link"), "text": _text(link_text, "link_text")}
    return _show(ArtifactKind.LINK, data, key, title, description).id


def create_image_artifact(image: Any, *, key: str | None = None, title: str = "", description: str = "") -> str:
    """An image, kept with the run: its URL, the path of a file, its bytes, or a matplotlib figure. Returns the artifact's id.

    Of files, bytes and figures the image itself is kept: in the artifact when small, in storage under its hash otherwise.
    PNG, JPEG, GIF, WebP and SVG.
    """
    if isinstance(image, str) and image.startswith(("http://", "https://")):
        return _show(ArtifactKind.IMAGE, {"url": storable(image)}, key, title, description).id
    data = image_data(_image_bytes(image), _engine().blobs)
    return _show(ArtifactKind.IMAGE, data, key, title, description).id


def _show(kind: ArtifactKind, data: Any, key: str | None, title: str, description: str) -> Artifact:
    if key is not None:
        check_key(key)
    size = len(_encode(data))
    if size > LARGEST_DATA:
        raise UsageError(
            f"this {kind} is {size:,} bytes as JSON, and an artifact may have {LARGEST_DATA:,}",
            hint="show the part that people look at (such as the first thousand rows), and store the rest as a file",
        )
    shell, at = CURRENT.get(), now()
    artifact = Artifact(
        id=new_id(),
        kind=kind,
        key=key,
        title=_text(title, "title"),
        description=_text(description, "description"),
        data=data,
        flow_run_id=None if shell is None else shell.flow.run_id,
        task_run_id=None if shell is None or isinstance(shell, FlowShell) else shell.run_id,
        created_at=at,
        updated_at=at,
    )
    _engine().outbox.show(artifact)
    return artifact


def _engine() -> Engine:
    shell = CURRENT.get()
    return current_engine() if shell is None else shell.engine


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{name} is to be text, and {value!r:.100} is of type {type(value).__name__}")
    return storable(value)


def _columns_and_rows(table: Any) -> tuple[Sequence[Any], Iterable[Sequence[Any]]]:
    if isinstance(table, Mapping):
        return _from_columns(table)
    if hasattr(table, "itertuples") and hasattr(table, "reset_index"):  # pandas; a named index is a column people gave a name to
        frame = table.reset_index() if any(name is not None for name in table.index.names) else table
        return list(frame.columns), frame.itertuples(index=False, name=None)
    if hasattr(table, "columns") and hasattr(table, "rows") and callable(table.rows):  # polars
        return list(table.columns), table.rows()
    if isinstance(table, Sequence) and not isinstance(table, str) and all(isinstance(row, Mapping) for row in table):
        columns = list(dict.fromkeys(name for row in table for name in row))
        return columns, [[row.get(name) for name in columns] for row in table]
    raise UsageError(f"a {type(table).__name__} is no table", hint="give a list of dicts, a dict of lists, or a data frame")


def _from_columns(table: Mapping[Any, Any]) -> tuple[Sequence[Any], Iterable[Sequence[Any]]]:
    values = {
        name: list(column) if isinstance(column, Iterable) and not isinstance(column, str) else None for name, column in table.items()
    }
    wrong = next((name for name, column in values.items() if column is None), None)
    if wrong is not None:
        raise UsageError(f"column {wrong!r} of the table is {table[wrong]!r:.50}", hint="give a list of its values")
    lengths = {name: len(column or ()) for name, column in values.items()}
    if len(set(lengths.values())) > 1:
        raise UsageError(
            "the table's columns have different lengths: " + ", ".join(f"{name!r} {length}" for name, length in list(lengths.items())[:8]),
            hint="give each as many values",
        )
    return list(values), list(zip(*(column or () for column in values.values()), strict=True))


def _cell(value: Any) -> Any:
    """The value as JSON holds it; what JSON has no word for as text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return storable(str(value))
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None if math.isnan(value) else str(value)
    if isinstance(value, date):
        return "" if value != value else value.isoformat()  # noqa: PLR0124 NaT, pandas' missing time, is a datetime that differs from itself
    if hasattr(value, "item") and getattr(value, "shape", None) == ():  # a NumPy scalar
        return _cell(value.item())
    text = str(value)
    return storable(text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}… ({len(text) - LONGEST_CELL} more characters)")


def _image_bytes(image: Any) -> bytes:
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, (str, Path)):
        try:
            return Path(image).read_bytes()
        except OSError as error:
            raise UsageError(f"the image {str(image)!r:.200} cannot be read: {error.strerror}", hint="give a path, or a URL") from None
    if callable(getattr(image, "savefig", None)):
        from io import BytesIO  # noqa: PLC0415 start-up time: wanted for figures only

        buffer = BytesIO()
        image.savefig(buffer, format="png")
        return buffer.getvalue()
    raise UsageError(f"a {type(image).__name__} is no image", hint="give a URL, a path, bytes, or a matplotlib figure")


# ---------------------------------------------------------------------- progress


class _UnderWay:
    """Progress artifacts of this process, by id, the latest content of each; bounded, the oldest is forgotten first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Artifact] = {}

    def find(self, artifact_id: str) -> Artifact:
        known = self._known.get(artifact_id)
        if known is None:
            _engine().outbox.flush()
            known = current_store().get_artifact(artifact_id)
        if known.kind is not ArtifactKind.PROGRESS:
            raise UsageError(
                f"artifact {artifact_id} is a {known.kind}, and only progress can be updated", hint="make another of the same key"
            )
        return known

    def tell(self, artifact: Artifact) -> None:
        """Have the artifact's content recorded, and remember it until it is done."""
        with self._lock:
            self._known.pop(artifact.id, None)
            if artifact.data.get("percent") != 100:
                self._known[artifact.id] = artifact
            if len(self._known) > _REMEMBERED:
                del self._known[next(iter(self._known))]
        _engine().outbox.show(artifact)


_under_way = _UnderWay()


def create_progress_artifact(progress: float = 0.0, *, key: str | None = None, title: str = "", description: str = "") -> str:
    """A progress bar at so many percent, kept with the run and shown live. Returns the artifact's id, for `update_progress_artifact`."""
    artifact = _show(ArtifactKind.PROGRESS, {"percent": _percent(progress)}, key, title, description)
    _under_way.tell(artifact)
    return artifact.id


def update_progress_artifact(artifact_id: str, progress: float, *, title: str | None = None, description: str | None = None) -> None:
    """Move a progress bar to so many percent. May be called as often as you like: what is written is the latest, some 20 times a second.

    Raises `NotFound` for an id that is no artifact's.
    """
    known = _under_way.find(artifact_id)
    words = {"title": title, "description": description}
    said = {name: _text(value, name) for name, value in words.items() if value is not None}
    _under_way.tell(msgspec.structs.replace(known, data={"percent": _percent(progress)}, updated_at=now(), **said))


def _percent(progress: object) -> float:
    if not isinstance(progress, (int, float)) or not 0 <= progress <= 100:
        raise UsageError(f"progress is a number from 0 to 100, not {progress!r}", hint="percent: half is 50, not 0.5")
    return float(progress)


@overload
def track(items: Iterable[_T], title: str = "", *, total: int | None = None, key: str | None = None) -> Iterator[_T]: ...
@overload
def track(items: AsyncIterable[_T], title: str = "", *, total: int | None = None, key: str | None = None) -> AsyncIterator[_T]: ...
def track(items: Any, title: str = "", *, total: int | None = None, key: str | None = None) -> Any:
    """Gives the items one by one, with a progress bar that shows how many are done.

    Write `for x in track(items, "loading")`. `total` is for iterables without a length; without either, the bar shows a count only. Also for `async for`.
    """
    if key is not None:
        check_key(key)
    if total is None and hasattr(items, "__len__"):
        total = len(items)
    bar = _Bar(total, title, key)
    return _tracked_async(items, bar) if hasattr(items, "__aiter__") else _tracked(items, bar)


def _tracked(items: Iterable[_T], bar: _Bar) -> Iterator[_T]:
    bar.begin()
    try:
        for item in items:
            yield item
            bar.step()
        bar.total = bar.done
    finally:
        bar.tell()


async def _tracked_async(items: AsyncIterable[_T], bar: _Bar) -> AsyncIterator[_T]:
    bar.begin()
    try:
        async for item in items:
            yield item
            bar.step()
        bar.total = bar.done
    finally:
        bar.tell()


class _Bar:
    """One bar of `track`. A step costs an addition; what it stands at is made into an artifact when the outbox sends."""

    def __init__(self, total: int | None, title: str, key: str | None) -> None:
        self.done = 0
        self.total = total
        self._title = title
        self._key = key
        self._begun: Artifact | None = None
        self._waits = False

    def begin(self) -> None:
        self._begun = _show(ArtifactKind.PROGRESS, self._data(), self._key, self._title, "")

    def step(self) -> None:
        self.done += 1
        if not self._waits:
            self.tell()

    def tell(self) -> None:
        self._waits = True
        _engine().outbox.show(self)

    @property
    def id(self) -> str:
        return self.begun.id

    @property
    def begun(self) -> Artifact:
        assert self._begun is not None, "a bar begins before it steps"
        return self._begun

    def content(self) -> Artifact:
        """As it stands, for the outbox. A step from now on asks to be told again."""
        self._waits = False
        return msgspec.structs.replace(self.begun, data=self._data(), updated_at=now())

    def _data(self) -> dict[str, Any]:
        if self.total is None:
            return {"done": self.done}
        return {"percent": percent_of(self.done, self.total), "done": self.done, "total": self.total}
