"""The records: one frozen definition each, which serves the domain, the wire (JSON by msgspec) and the database row.

Instants are aware UTC datetimes, durations are seconds as floats with `_s` in the name, ids are UUIDv7 strings.
Nothing here decides anything; see `rules`, `queues` and `retry`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from legato.core.schedules import Schedule
from legato.core.states import State, StateType


class RunKind(StrEnum):
    """Which of the two kinds of run a transition speaks of."""

    FLOW = "flow"
    TASK = "task"


class OnLost(StrEnum):
    """What becomes of a run whose process or machine went away: stay CRASHED, or be scheduled again as a new attempt."""

    FAIL = "fail"
    RETRY = "retry"


class Catchup(StrEnum):
    """What a schedule does with ticks that passed while no scheduler was up (names as in the field)."""

    LATEST = "latest"
    ALL = "all"
    NONE = "none"


class ArtifactKind(StrEnum):
    """What an artifact shows; see `core.artifacts` for what its data holds."""

    MARKDOWN = "markdown"
    TABLE = "table"
    LINK = "link"
    IMAGE = "image"
    PROGRESS = "progress"


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a return value is and how to read it; or, in `unavailable`, why it cannot be had.

    Small values lie here in `inline` (serialised bytes), large ones in storage under `key`, which is their content address.
    `hash` is the BLAKE2b-256 hex digest of the serialised bytes, `size` their length. `inputs` is a hash of what the futures among the call's
    arguments came to, "" when there were none. `changed`: the call changed its arguments. `alias` tells where the value holds, unchanged, what
    it was given: "=0" is the first argument itself, "1=x" holds the argument x as its second item. `beside`: what else the call did, in words, which
    cannot be had from the value.
    """

    serializer: str = "json"
    type: str = ""
    size: int = 0
    hash: str = ""
    inline: bytes | None = None
    key: str | None = None
    preview: str = ""
    unavailable: str = ""
    inputs: str = ""
    changed: bool = False
    alias: str = ""
    beside: str = ""


class ErrorDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong in a failed run: the exception, where in the user's code, and the traceback without our own frames."""

    type: str
    message: str
    file: str = ""
    line: int = 0
    function: str = ""
    source: str = ""
    traceback: str = ""


class Flow(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A flow that has been run or deployed at least once."""

    id: str
    name: str
    created_at: datetime
    description: str = ""


class FlowRun(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One execution of a flow.

    `seq` counts the run's transitions, `attempt` its tries, for people. `epoch` says whether somebody holds it, and is the token of who does
    (see `core.ownership`). `lost` counts attempts whose holder went away, `unstarted` the claims in a row that never came to run.
    `overrides` are the parameters that were given for this run alone, on top of the deployment's (None: it has none of its own to follow).
    `expected_start_at` is set once, at creation: lists are sorted by it. `due_at` moves when the run is rescheduled.
    `host` and `pid` name the process under a run that nobody else supervises (embedded mode); `entrypoint` ("/path/file.py:function") says
    how to run it again. `call` says which call inside its parent it is (see `core.resume`), `code` which functions its flow is made of, with
    a hash each. `forked_from` is the run whose results it may reuse, up to the task run named `fork_task`.
    """

    id: str
    flow_name: str
    name: str
    state: State
    seq: int = 1
    attempt: int = 0
    created_at: datetime
    expected_start_at: datetime
    due_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    parameters: dict[str, Any] = {}
    tags: tuple[str, ...] = ()
    deployment_id: str | None = None
    deployment_name: str | None = None
    schedule_id: str | None = None
    trigger: str = ""
    parent_run_id: str | None = None
    upstream: tuple[str, ...] = ()
    flow_runner: str = ""
    work_queue: str | None = None
    agent_id: str | None = None
    lease_expires_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    host: str = ""
    pid: int = 0
    retries: int = 0
    on_lost: OnLost = OnLost.FAIL
    lost: int = 0
    entrypoint: str = ""
    call: str = ""
    code: dict[str, str] | None = None
    forked_from: str | None = None
    fork_task: str | None = None
    pause_requested_at: datetime | None = None
    result: Result | None = None
    error: ErrorDetail | None = None
    epoch: int = 0
    unstarted: int = 0
    overrides: dict[str, Any] | None = None

    @property
    def display_state(self) -> str:
        """The state's name, or "Cancelling" or "Pausing" while such a wish is being carried out."""
        if self.cancel_requested_at and not self.state.is_final:
            return "Cancelling"
        return "Pausing" if self.pause_requested_at and self.state.type is StateType.RUNNING else self.state.name


class TaskRun(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One execution of a task inside a flow run.

    `key` names the task's function (module and qualified name); `upstream` the runs whose results it was given or waited for.
    `flow_attempt` is the flow run's attempt that started it. `call` says which call of the flow it is
    and `code` which functions it is made of, with a hash each (see `core.resume`). `parent_task_id` is the task run that called it, if one did.
    """

    id: str
    flow_run_id: str
    key: str
    name: str
    state: State
    seq: int = 1
    attempt: int = 1
    flow_attempt: int = 1
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    tags: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    cache_key: str | None = None
    cache_expires_s: float | None = None
    retries: int = 0
    call: str = ""
    code: dict[str, str] | None = None
    parent_task_id: str | None = None
    result: Result | None = None
    error: ErrorDetail | None = None


HELD = "held/"
"""How keys of questions begin that a person's wish to pause has put."""


class RunInput(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a paused or suspended flow run asked a person for. `schema` is the JSON Schema of the answer, {} for a plain "go on".

    `key` tells several pauses of one run apart. `answer` counts once `answered_at` is set; it may be null.
    """

    flow_run_id: str
    key: str
    asked_at: datetime
    prompt: str = ""
    schema: dict[str, Any] = {}
    answered_at: datetime | None = None
    answer: Any = None

    @property
    def is_wish(self) -> bool:
        """Whether a person wished for the pause, and the flow itself asks for nothing."""
        return self.key.startswith(HELD)


class CacheAsk(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a task that is about to run asks of the cache.

    `parts` are what its key was made of, by name ("input:x", "code:clean", "run"), and `policy` says so for people. `refresh`: take nothing,
    replace what is there. `patient`: wait while another makes the same result. `within`: the runs this call is inside of. `newer_than`: take
    nothing that was stored before, for that could not be read.
    """

    key: str
    task_key: str = ""
    policy: str = ""
    parts: dict[str, str] = {}
    expires_s: float | None = None
    refresh: bool = False
    patient: bool = True
    within: tuple[str, ...] = ()
    newer_than: datetime | None = None


class Transition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A proposed change of state.

    `seq` is the number this change would take: one more than the run's present one, so a repeat is recognised and a loser learns it lost.
    `fence` is the token of the flow run's holder, on whose behalf it is made (None: an operator or service, which holds nothing).
    `parent_epoch` is the token of the run around a flow run that begins inside another. `happened`: its sender has taken it as accepted
    already (the store was away, or the task ran on a cluster): it is recorded as it was, and never answered with another state.
    `attempt` is the attempt the new state belongs to. The first transition of a run carries its record in `flow_run` or `task_run`.
    `release`: the holder lets go of the run (suspended: nobody holds it while it waits for a person). `cache` goes with a task's start.
    `name`: what a flow run is called from now on (None: as before): the flow's template has it, and only the run's process can fill it.
    """

    kind: RunKind
    run_id: str
    seq: int
    state: State
    attempt: int = 1
    fence: int | None = None
    flow_run: FlowRun | None = None
    task_run: TaskRun | None = None
    result: Result | None = None
    error: ErrorDetail | None = None
    reopen: bool = False
    release: bool = False
    cache: CacheAsk | None = None
    happened: bool = False
    parent_epoch: int | None = None
    name: str | None = None


class VerdictKind(StrEnum):
    """The answer to a transition."""

    ACCEPTED = "accepted"
    ALREADY = "already"
    INSTEAD = "instead"
    WAIT = "wait"
    REFUSED = "refused"


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the store decided about one transition.

    accepted: recorded as proposed. already: it had been recorded before, this was a repeat. instead: `state` was recorded in its place.
    wait: ask again at `until`. refused: nothing was recorded; `code` is for programs, `reason` for people.
    `seq` and `attempt` are the run's after the decision.
    """

    kind: VerdictKind
    seq: int = 0
    attempt: int = 0
    state: State | None = None
    result: Result | None = None
    until: datetime | None = None
    code: str = ""
    reason: str = ""


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a run's log. `level` is the number of the standard library's logging (20 INFO, 40 ERROR).

    `n` is given by the store and rises in the order the lines were written; it is the cursor for reading on. `epoch` is the token of the
    holder that wrote it (0: not known): an earlier holder's lines are kept, and can be told apart.
    """

    flow_run_id: str
    at: datetime
    level: int
    logger: str
    message: str
    task_run_id: str | None = None
    n: int = 0
    epoch: int = 0


class Artifact(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Something a run has made for people to look at. Those of one `key` are versions of one thing, counted from 1 as they arrive.

    Saved again under its `id`, it is the same artifact with other content, as progress is; the content of the later `updated_at` stays.
    `data` is JSON in the shape of its kind. The store gives `version` (0: it has no key).
    """

    id: str
    kind: ArtifactKind
    created_at: datetime
    updated_at: datetime
    key: str | None = None
    version: int = 0
    title: str = ""
    description: str = ""
    data: Any = None
    flow_run_id: str | None = None
    task_run_id: str | None = None
    epoch: int = 0


def _with_commas(description: str) -> msgspec.Meta:
    """Of a list of words that hold no comma: it may stand in one parameter of a query."""
    return msgspec.Meta(description=description, extra={"commas": True})


class ArtifactFilter(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Which artifacts a list holds: those that match all that is given. `latest`: of each key the last version only, and none without a key."""

    flow_run_id: str | None = msgspec.field(default=None, name="flow_run")
    task_run_id: str | None = msgspec.field(default=None, name="task_run")
    key: str | None = None
    kind: ArtifactKind | None = None
    latest: bool = False


class ArtifactPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Artifacts, last arrived first. `cursor` continues the list; None at its end."""

    items: list[Artifact]
    cursor: str | None = None


class Variable(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A named JSON value that flows read when they run, and people change without touching code. The store sets `updated_at`."""

    name: str
    value: Any = None
    tags: tuple[str, ...] = ()
    updated_at: datetime


class JournalEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One recorded transition. `pos` is dense and in commit order over the whole database; `seq` is gapless within the run.

    It says enough of the run's flow, deployment and tags to be matched by itself.
    """

    pos: int
    kind: RunKind
    run_id: str
    flow_run_id: str
    seq: int
    attempt: int
    state: State
    flow_name: str = ""
    deployment_id: str | None = None
    tags: tuple[str, ...] = ()


class ChangeKind(StrEnum):
    """What a change is about."""

    RUNS = "runs"
    WISH = "wish"
    DEPLOYMENT = "deployment"
    SCHEDULE = "schedule"
    QUEUE = "queue"
    LIMIT = "limit"
    VARIABLE = "variable"


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was done to something other than a run's state: the journal's other half.

    `pos` is dense and in commit order over the whole database. `subject` is the deployment's, queue's, schedule's or run's id, or the
    variable's name; `event` says what was done ("saved", "paused", "deleted", "skipped"), `actor` who did it, `body` the particulars.
    """

    pos: int
    kind: ChangeKind
    subject: str
    event: str
    at: datetime
    actor: str = ""
    message: str = ""
    body: dict[str, Any] = {}


class DeploymentSchedule(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A schedule of a deployment. `cursor_at` is the last tick that was dealt with; `version` changes when the schedule is edited."""

    id: str
    schedule: Schedule
    deployment_id: str = ""
    active: bool = True
    catchup: Catchup = Catchup.LATEST
    version: int = 1
    cursor_at: datetime | None = None


class Deployment(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A flow made runnable by others.

    `entrypoint` is "path/in/bundle.py:flow_function". `bundle` is the content address of the packed source, `storage` where it lies.
    `flow_runner` holds the runner's "type" and its own options. Identified by "flow_name/name". `paused` is None only in what is saved:
    not mentioned, so what a person has decided stays. `concurrency_limit`: how many of its runs agents hold at once, over all queues.
    """

    id: str
    flow_name: str
    name: str
    entrypoint: str
    created_at: datetime
    updated_at: datetime
    bundle: str | None = None
    storage: str = "local"
    description: str = ""
    version: str = ""
    parameters: dict[str, Any] = {}
    parameter_schema: dict[str, Any] = {}
    tags: tuple[str, ...] = ()
    flow_runner: dict[str, Any] = {}
    schedules: tuple[DeploymentSchedule, ...] = ()
    paused: bool | None = None
    retries: int = 0
    on_lost: OnLost = OnLost.FAIL
    concurrency_limit: int | None = None

    @property
    def full_name(self) -> str:
        """What identifies a deployment everywhere: "flow_name/name"."""
        return f"{self.flow_name}/{self.name}"


class QueueFilter(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Which scheduled runs a queue takes: those that match all that is given. Empty: every run that came from a deployment.

    `tags`: the run has all of them. `deployments`: it came from one of these ("flow/name"). `flow_runners`: its runner is one of these types.
    """

    tags: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ()
    flow_runners: tuple[str, ...] = ()


class WorkQueue(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A standing filter over scheduled runs, with a priority (higher first), a limit on runs at once, and a pause switch."""

    id: str
    name: str
    created_at: datetime
    description: str = ""
    filter: QueueFilter = QueueFilter()
    priority: int = 0
    concurrency_limit: int | None = None
    paused: bool = False


class QueueStatus(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A queue with its live numbers: slots in use, runs that are due and wait, runs late by more than 15 s, agents seen within 60 s."""

    queue: WorkQueue
    running: int = 0
    waiting: int = 0
    late: int = 0
    agents: int = 0
    oldest_due_at: datetime | None = None


class TagLimit(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """At most `size` runs with a tag are held by agents at once, over all queues."""

    tag: str
    size: int


class LimitStatus(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A limit on a tag's runs, or on a deployment's, with how many of them agents hold now."""

    size: int
    running: int = 0
    tag: str = ""
    deployment_name: str = ""


class Agent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A process that claims runs from queues and starts them. `id` is issued anew at each start; names may repeat.

    `lingering`: the names of runs that are over, and whose processes go on and keep a place.
    """

    id: str
    name: str
    queues: tuple[str, ...]
    started_at: datetime
    last_seen_at: datetime
    host: str = ""
    pid: int = 0
    version: str = ""
    capacity: int = 0
    running: int = 0
    lingering: tuple[str, ...] = ()
    ended_at: datetime | None = None


class ClaimRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An agent's request for work: at most `limit` due runs from `queues` (names), each leased for `lease_s` seconds."""

    agent_id: str
    queues: tuple[str, ...]
    limit: int = 1
    lease_s: float = 30.0
    flow_runners: tuple[str, ...] = ()


class Claim(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A run that is now the agent's, until its lease runs out or is renewed. `flow_run.epoch` is its token."""

    flow_run: FlowRun
    deployment: Deployment


class Beat(msgspec.Struct, frozen=True):
    """A sign of life of a run's holder, which names its token."""

    run_id: str
    epoch: int


class BeatReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether the run is still the holder's own (`alive`), and whether somebody wants it to stop or to pause.

    Not alive means over: stop. Unless it is `unknown`: no such run was ever told of here (its first report may be on its way).
    """

    run_id: str
    alive: bool
    cancel_requested: bool = False
    pause_requested: bool = False
    reason: str = ""
    unknown: bool = False

    @property
    def is_over(self) -> bool:
        """Whether the holding has ended, so that its holder has to stop."""
        return not self.alive and not self.unknown


class SchedulePlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a scheduler has worked out for one schedule: its next runs, up to where its ticks are dealt with, when to look at it again, and
    how many missed ticks were skipped, from when to when.
    """

    schedule: DeploymentSchedule
    runs: list[FlowRun]
    cursor_at: datetime
    look_at: datetime
    skipped: int = 0
    skipped_from: datetime | None = None
    skipped_to: datetime | None = None


class Due(msgspec.Struct, frozen=True):
    """A schedule that a scheduler should look at now, with its deployment."""

    schedule: DeploymentSchedule
    deployment: Deployment


class FlowRunFilter(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Which flow runs a list holds: those that match all that is given. `text` is a part of the run's or flow's name, or an id's beginning."""

    states: Annotated[tuple[StateType, ...], _with_commas("State types, separated by commas.")] = msgspec.field(default=(), name="state")
    state_names: Annotated[tuple[str, ...], _with_commas("States' names, separated by commas.")] = msgspec.field(
        default=(), name="state_name"
    )
    flow_name: str | None = msgspec.field(default=None, name="flow")
    deployment_id: str | None = msgspec.field(default=None, name="deployment")
    work_queue: str | None = msgspec.field(default=None, name="queue")
    agent_id: str | None = msgspec.field(default=None, name="agent")
    parent_run_id: str | None = msgspec.field(default=None, name="parent")
    schedule_id: str | None = msgspec.field(default=None, name="schedule")
    tags: tuple[str, ...] = msgspec.field(default=(), name="tag")
    text: str = msgspec.field(default="", name="q")
    start_after: datetime | None = msgspec.field(default=None, name="from")
    start_before: datetime | None = msgspec.field(default=None, name="to")
    top_level: bool = False


class FlowRunPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Flow runs, newest expected start first. `cursor` continues the list; None at its end."""

    items: list[FlowRun]
    cursor: str | None = None


class TaskRunPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Task runs of one flow run in order of creation. `cursor` continues the list; None at its end."""

    items: list[TaskRun]
    cursor: str | None = None
