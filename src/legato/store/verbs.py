"""A verb of the store is declared once: by a line above its method in the port. Its signature, types, defaults and docstring are the declaration;
the line adds what Python cannot say. The client, the server's routes, their bodies and answers, and the API's description follow from it
(see `shapes`).

Paths: `{name}` is an argument; `{name=thing.id}` a field of one, which the server holds against the body; `{name:name}` an id or "flow/name";
`{paused:resume|pause}` one word for False, another for True. What is left over is the query of a GET or a DELETE (a record is spread over it,
by its fields' encoded names), and the body of all others: a single record, or sequence of records, as it is, several arguments as an object
of them. `now` never travels. `words` gives arguments another name on the wire, or words: {"oldest_first": "order=newest|oldest"}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, TypeVar, cast

import msgspec

Method: TypeAlias = Literal["GET", "POST", "PUT", "DELETE"]
Role: TypeAlias = Literal["viewer", "operator", "developer", "worker"]
"""Who may: look; start and stop runs; deploy code; report and claim, which is what agents and runs do."""

F = TypeVar("F", bound=Callable[..., Any])


class Verb(msgspec.Struct, frozen=True, eq=False):
    """One verb of the port, and what goes over the wire for it."""

    name: str
    method: Method
    path: str
    function: Callable[..., Any]
    needs: Role
    changes: str
    """What kind of thing watchers are told has changed; "" when the journal tells them."""
    repeat: bool
    """Whether doing it again changes nothing more. Every other verb that writes carries a key, and is done once under it."""
    own_route: bool
    """Whether the server answers it by a route of its own: the few that are called all the time."""
    words: Mapping[str, str]
    status: int
    timeout_s: float

    @property
    def reads(self) -> bool:
        """Whether it changes nothing at all."""
        return self.method == "GET" or (self.method == "POST" and self.needs == "viewer")

    def bind(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name. The empty body is called so that Python itself checks them, and words what is wrong."""
        self.function(None, *arguments, **named)
        return {**dict(zip(self.function.__code__.co_varnames[1:], arguments, strict=False)), **named}


_declared: dict[Callable[..., Any], Verb] = {}


def verb(
    method: Method,
    path: str,
    *,
    needs: Role | None = None,
    changes: str = "",
    repeat: bool | None = None,
    own_route: bool = False,
    words: Mapping[str, str] | None = None,
    status: int = 200,
    timeout_s: float = 60.0,
) -> Callable[[F], F]:
    """Declare the method below a verb. A class that does not override it, but has `call(verb, arguments)`, is asked by that."""
    reads = method == "GET"

    def declare(function: F) -> F:
        declared = Verb(
            function.__name__, method, path, function, needs or ("viewer" if reads else "operator"), changes,
            reads if repeat is None else repeat, own_route, words or {}, status, timeout_s,
        )  # fmt: skip

        def handed_on(self: Any, *arguments: Any, **named: Any) -> Any:
            return self.call(declared, declared.bind(arguments, named))

        handed_on.__name__, handed_on.__doc__ = function.__name__, function.__doc__  # functools.update_wrapper costs more than all this
        _declared[handed_on] = declared
        return cast("F", handed_on)

    return declare


def verbs_of(port: type) -> dict[str, Verb]:
    """The verbs that a class declares or inherits, by name."""
    found = {name: _declared.get(getattr(port, name)) for name in dir(port) if not name.startswith("_") and callable(getattr(port, name))}
    return {name: declared for name, declared in found.items() if declared is not None}
