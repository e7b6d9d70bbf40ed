"""Whatever somebody calls a thing: it is found again by that name, or the name is refused in words; on every store the same."""

from collections.abc import Callable
from random import Random

import msgspec
import pytest

from legato.core.errors import UsageError
from legato.core.records import (
    Artifact,
    ArtifactKind,
    CacheAsk,
    FlowRunFilter,
    QueueFilter,
    Result,
    RunInput,
    TagLimit,
    Variable,
)
from legato.core.states import COMPLETED, RUNNING
from legato.store.columns import token
from legato.store.port import Store
from legato.store.sql import SqlStore
from legato.system import new_id

from tests.store.make import NOON, add_deployment, add_queue, apply, at, begin, claim, move, scheduled, step, task_of

_chance = Random(8)


def _long(length: int, letters: str = "abcdefghijklmnopqrstuvwxyz0123456789") -> str:
    """Text that no index makes shorter by packing it."""
    return "".join(_chance.choices(letters, k=length))


NAMES = {
    "601": _long(601),
    "400 wide": _long(400, "".join(map(chr, range(0x4E00, 0x5E00)))),
    "600 of four bytes": _long(600, "".join(map(chr, range(0x20000, 0x21000)))),
    "3000": _long(3000),
    "a million": _long(1_000_000),
    "NUL": "a\0b",
    "no Unicode": "report-\udcff",
    "half of a pair": "\ud83d",
    "slash": "team/x y",
    "blank": " a ",
    "dots": "..",
    "percent": "50%_\\",
    "quote": 'it\'s "a"; --',
    "line": "a\nb",
}


def flow(store: Store, name: str) -> bool:
    run = begin(store, flow_name=name)
    return [one.id for one in store.list_flow_runs(FlowRunFilter(flow_name=name)).items] == [run.id]


def run(store: Store, name: str) -> bool:
    made = begin(store, name=name)
    return [one.id for one in store.find_flow_runs(name)] == [made.id]


def tag(store: Store, name: str) -> bool:
    made = begin(store, tags=(name,))
    return [one.id for one in store.list_flow_runs(FlowRunFilter(tags=(name,))).items] == [made.id]


def state(store: Store, name: str) -> bool:
    made = begin(store)
    apply(store, move(made, COMPLETED, 1, name=name), 1)
    return [one.id for one in store.list_flow_runs(FlowRunFilter(state_names=(name,))).items] == [made.id]


def deployment(store: Store, name: str) -> bool:
    made = add_deployment(store, name)
    return store.get_deployment(made.full_name).id == made.id and store.get_deployment(made.id).id == made.id


def flow_of_a_deployment(store: Store, name: str) -> bool:
    made = add_deployment(store, "prod", flow_name=name)
    return store.get_deployment(made.full_name).id == made.id


def queue(store: Store, name: str) -> bool:
    add_queue(store, name, filter=QueueFilter(tags=("of-a-queue",)))
    store.create_flow_run(scheduled(deployment=add_deployment(store), tags=("of-a-queue",)), now=NOON)
    (claimed,) = claim(store, name, seconds=10)
    status = store.get_queue(name)
    held = store.list_flow_runs(FlowRunFilter(work_queue=name)).items
    return status.running == 1 and [one.id for one in held] == [claimed.flow_run.id]


def tag_of_a_queue(store: Store, name: str) -> bool:
    queue = add_queue(store, new_id(), filter=QueueFilter(tags=(name,)))
    store.create_flow_run(scheduled(deployment=add_deployment(store), tags=(name,)), now=NOON)
    return len(claim(store, queue.name, seconds=10)) == 1


def deployment_of_a_queue(store: Store, name: str) -> bool:
    made = add_deployment(store, name)
    queue = add_queue(store, new_id(), filter=QueueFilter(deployments=(made.full_name,)))
    store.create_flow_run(scheduled(deployment=made), now=NOON)
    return len(claim(store, queue.name, seconds=10)) == 1


def limit(store: Store, name: str) -> bool:
    queue = add_queue(store, new_id(), filter=QueueFilter(tags=(name,)))
    store.save_limit(TagLimit(tag=name, size=2))
    made = add_deployment(store)
    for _ in range(3):
        store.create_flow_run(scheduled(deployment=made, tags=(name, name)), now=NOON)
    is_held = len(claim(store, queue.name, limit=5, seconds=10)) == 2 and store.list_limits()[0].running == 2
    store.delete_limit(name)
    return is_held and store.list_limits() == []


def variable(store: Store, name: str) -> bool:
    store.set_variable(Variable(name=name, value=1, updated_at=NOON))
    return store.get_variable(name).value == 1


def artifact(store: Store, name: str) -> bool:
    store.apply([], [], [Artifact(id=new_id(), kind=ArtifactKind.MARKDOWN, key=name, data="x", created_at=NOON, updated_at=NOON)])
    return store.get_artifact(name).data == "x"


def task(store: Store, name: str) -> bool:
    made = task_of(begin(store), key=name, name=name, tags=(name,))
    store.apply([made], now=at(0))
    return store.get_task_run(made.run_id).flow_run_id != ""


def cached(store: Store, name: str) -> bool:
    """A result under a key of this name, of a task of this name, is found by whoever asks next."""
    verdicts = []
    for _ in range(2):
        made = task_of(begin(store), 0, RUNNING)
        made = msgspec.structs.replace(made, cache=CacheAsk(key=name, task_key=name))
        verdicts += [one.kind for one in store.apply([made], now=at(1))]
        store.apply([step(made, COMPLETED, 2, result=Result(inline=b"1"))], now=at(2))
    return verdicts == ["accepted", "instead"]


def question(store: Store, name: str) -> bool:
    made = begin(store)
    store.ask_input(RunInput(flow_run_id=made.id, key=name, prompt=name, schema={}, asked_at=NOON))
    return store.answer_input(made.id, name, "yes", now=at(1)).answer == "yes"


LONGEST_URL = 60_000
"""Characters, beyond which no server reads on."""
THINGS = (
    flow, run, tag, state, deployment, flow_of_a_deployment, queue, tag_of_a_queue, deployment_of_a_queue, limit, variable, artifact, task,
    cached, question,
)  # fmt: skip
MAY_BE_REFUSED = {deployment, flow_of_a_deployment, queue, deployment_of_a_queue, variable, artifact}
"""What is set up by hand, where a refusal can be read and heeded; what a run reports is stored, whatever it is called."""


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.__name__)
def test_a_thing_is_found_by_its_name_or_its_name_is_refused(store: Store, thing: Callable[[Store, str], bool]) -> None:
    wrong = {}
    is_far = not isinstance(store, SqlStore)
    for what, name in NAMES.items():
        if is_far and len(name) > LONGEST_URL:
            continue
        try:
            if not thing(store, name):
                wrong[what] = "not found"
        except Exception as error:  # noqa: BLE001 whatever else it may be is told of all names at once
            if not (isinstance(error, UsageError) and thing in MAY_BE_REFUSED):
                wrong[what] = f"{type(error).__name__}: {str(error)[:100]}"

    assert wrong == {}


ALIKE = {
    "empty": ("", " "),
    "cut": (_SAME := _long(600)) and (_SAME + "1", _SAME + "2"),
    "cut far away": (_FAR := _long(5000)) and (_FAR + "1", _FAR + "2"),
    "cut to the other": (_SAME + "1", _SAME[:599] + "…"),
    "NUL": ("a\0b", "a\\0b"),
    "no Unicode": ("report-\udcff", "report-\\udcff"),
    "wide": ("ü" * 600 + "1", "ü" * 600 + "2"),
    "upper": ("Key", "key"),
    "composed": ("\u00e9", "e\u0301"),
    "line": ("a", "a\n"),
}
"""Two names each, which are easily taken for one."""


def sent(store: Store, kind: str) -> tuple[str, str]:
    """What of two names comes to the store: no JSON holds a lone surrogate, so a program makes a token of it before it sends it."""
    one, other = ALIKE[kind]
    return (one, other) if isinstance(store, SqlStore) else (token(one), token(other))


def value_under(store: Store, key: str, value: bytes) -> bytes:
    """What a task gets whose result is kept under this key: that of an earlier one, or the one that it makes now."""
    made = msgspec.structs.replace(task_of(begin(store), 0, RUNNING), cache=CacheAsk(key=key, task_key="t"))
    (verdict,) = store.apply([made], now=at(1))
    if verdict.result is not None:
        return verdict.result.inline or b""
    assert verdict.kind == "accepted"
    store.apply([step(made, COMPLETED, 2, result=Result(inline=value))], now=at(2))
    return value


@pytest.mark.parametrize("kind", ALIKE)
def test_two_cache_keys_are_two_however_alike_they_are(store: Store, kind: str) -> None:
    one, other = sent(store, kind)

    assert [value_under(store, key, value) for key, value in ((one, b"1"), (other, b"2"), (one, b"3"), (other, b"4"))] == [
        b"1",
        b"2",
        b"1",
        b"2",
    ]


@pytest.mark.parametrize("kind", ALIKE)
def test_two_questions_of_a_run_get_an_answer_each_however_alike_their_keys_are(store: Store, kind: str) -> None:
    one, other = sent(store, kind)
    asking = begin(store)
    for key in (one, other):
        store.ask_input(RunInput(flow_run_id=asking.id, key=key, prompt="", schema={}, asked_at=NOON))

    answers = [store.answer_input(asking.id, key, answer, now=at(1)).answer for key, answer in ((one, "yes"), (other, "no"))]

    assert answers == ["yes", "no"]
    assert sorted(str(question.answer) for question in store.list_inputs(asking.id)) == ["no", "yes"]
