"""Making and changing work queues, for the commands that do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from legato.cli.identity import find_queue
from legato.core.errors import UsageError
from legato.core.records import QueueFilter, WorkQueue
from legato.system import new_id

if TYPE_CHECKING:
    from legato.cli.session import Session


def new_queue(
    session: Session, name: str, filter: QueueFilter, *, priority: int = 0, limit: int | None = None, description: str = ""
) -> WorkQueue:
    """A saved queue of this name. Raises `Conflict` when there is one already."""
    if not name.strip() or "/" in name or name != name.strip():
        raise UsageError(f"'{name}' cannot be a work queue's name", hint="give a short name without '/' or spaces around it")
    queue = WorkQueue(
        id=new_id(),
        name=name,
        created_at=session.now(),
        description=description,
        filter=filter,
        priority=priority,
        concurrency_limit=limit,
    )
    return session.store.save_queue(queue)


def change_queue(session: Session, text: str, **changes: Any) -> WorkQueue:
    """The queue of this name or id, saved with these fields changed."""
    import msgspec

    return session.store.save_queue(msgspec.structs.replace(find_queue(session, text).queue, **changes))
