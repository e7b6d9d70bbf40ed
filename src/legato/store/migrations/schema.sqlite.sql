-- What the migrations make together, written by `python tools/schema.py`: a new database is made from it in a fifth of their time.
-- A test holds it against them. Trigrams are not in it: they are made where this SQLite has them (see `sqlite_schema.py`).

CREATE TABLE flow_run (
    n integer primary key,
    id text not null unique,
    flow_name text not null,
    name text not null,
    state_type text not null check (state_type in ('scheduled', 'pending', 'running', 'paused', 'completed', 'failed', 'crashed', 'cancelled')),
    state_name text not null,
    state_at bigint not null,
    state_message text not null,
    seq bigint not null check (seq > 0),
    attempt bigint not null,
    created_at bigint not null,
    expected_start_at bigint not null,
    due_at bigint,
    started_at bigint,
    ended_at bigint,
    parameters text not null,
    tags text not null,
    deployment_id text,
    deployment_name text,
    schedule_id text,
    trigger_text text not null,
    parent_run_id text,
    upstream text not null,
    flow_runner text not null,
    work_queue text,
    agent_id text,
    lease_expires_at bigint,
    cancel_requested_at bigint,
    host text not null,
    pid bigint not null,
    retries bigint not null,
    on_lost text not null check (on_lost in ('fail', 'retry')),
    lost bigint not null,
    result text,
    error text, entrypoint text not null default '', call text not null default '', code text, forked_from text, fork_task text, pause_requested_at bigint, workspace bigint not null default 1, epoch bigint not null default 0, unstarted bigint not null default 0, overrides text,
    check (lease_expires_at is null or state_type in ('scheduled', 'pending', 'running', 'paused'))
);

CREATE INDEX flow_run_lease on flow_run (lease_expires_at) where lease_expires_at is not null;

CREATE TABLE run_tag (
    tag bigint not null references tag (n),
    start_at bigint not null,
    run bigint not null references flow_run (n) on delete cascade,
    primary key (tag, start_at, run)
) without rowid;

CREATE INDEX run_tag_run on run_tag (run, tag);

CREATE TABLE log (
    n integer primary key,
    flow_run_id text not null,
    task_run_id text,
    at bigint not null,
    level bigint not null,
    logger text not null,
    message text not null
, epoch bigint not null default 0);

CREATE INDEX log_flow_run on log (flow_run_id, n);

CREATE TABLE schedule (
    id text primary key,
    deployment_id text not null references deployment (id) on delete cascade,
    active bigint not null,
    version bigint not null,
    cursor_at bigint,
    record text not null
, next_look_at bigint not null default 0);

CREATE INDEX schedule_deployment on schedule (deployment_id);

CREATE TABLE tick (
    schedule_id text not null references schedule (id) on delete cascade,
    version bigint not null,
    at bigint not null,
    run_id text not null,
    primary key (schedule_id, version, at)
) without rowid;

CREATE TABLE agent (
    id text primary key,
    last_seen_at bigint not null,
    ended_at bigint,
    record text not null
, workspace bigint not null default 1);

CREATE TABLE run_input (
    flow_run_id text not null,
    key text not null,
    asked_at bigint not null,
    prompt text not null,
    input_schema text not null,
    answered_at bigint,
    answer text,
    primary key (flow_run_id, key)
) without rowid;

CREATE TABLE artifact (
    n integer primary key,
    id text not null unique,
    kind text not null check (kind in ('markdown', 'table', 'link', 'image', 'progress')),
    key text,
    version bigint not null,
    title text not null,
    description text not null,
    data text not null,
    flow_run_id text,
    task_run_id text,
    created_at bigint not null,
    updated_at bigint not null
, workspace bigint not null default 1, epoch bigint not null default 0);

CREATE INDEX artifact_flow_run on artifact (flow_run_id, n) where flow_run_id is not null;

CREATE INDEX artifact_task_run on artifact (task_run_id, n) where task_run_id is not null;

CREATE INDEX flow_run_start on flow_run (workspace, expected_start_at desc, n desc);

CREATE INDEX flow_run_state on flow_run (workspace, state_type, expected_start_at desc, n desc);

CREATE INDEX flow_run_flow on flow_run (workspace, flow_name, expected_start_at desc, n desc);

CREATE INDEX flow_run_deployment on flow_run (workspace, deployment_id, expected_start_at desc, n desc) where deployment_id is not null;

CREATE INDEX flow_run_parent on flow_run (workspace, parent_run_id, expected_start_at desc, n desc) where parent_run_id is not null;

CREATE INDEX flow_run_name on flow_run (workspace, name);

CREATE INDEX flow_run_due on flow_run (workspace, due_at, n) where state_type = 'scheduled';

CREATE INDEX flow_run_queue on flow_run (workspace, work_queue, expected_start_at desc, n desc) where work_queue is not null;

CREATE INDEX flow_run_agent on flow_run (workspace, agent_id, expected_start_at desc, n desc) where agent_id is not null;

CREATE INDEX flow_run_held on flow_run (host, expected_start_at, n) where agent_id is null and pid > 0 and epoch % 2 = 1
    and state_type in ('scheduled', 'pending', 'running', 'paused');

CREATE INDEX flow_run_ended on flow_run (workspace, ended_at) where ended_at is not null;

CREATE TABLE change (
    pos integer primary key,
    workspace bigint not null default 1,
    kind text not null,
    subject text not null,
    event text not null,
    at bigint not null,
    actor text not null default '',
    message text not null,
    body text
);

CREATE UNIQUE INDEX artifact_version on artifact (workspace, key, version) where key is not null;

CREATE INDEX artifact_updated on artifact (updated_at);

CREATE INDEX agent_seen on agent (workspace, last_seen_at);

CREATE TABLE "flow" (
    n integer primary key,
    id text not null,
    workspace bigint not null default 1,
    name text not null,
    created_at bigint not null,
    description text not null default ''
);

CREATE UNIQUE INDEX flow_id on flow (id);

CREATE UNIQUE INDEX flow_name on flow (workspace, name);

CREATE TABLE "tag" (
    n integer primary key,
    workspace bigint not null default 1,
    name text not null,
    uses bigint not null default 0
);

CREATE UNIQUE INDEX tag_name on tag (workspace, name);

CREATE TABLE "deployment" (
    id text primary key,
    workspace bigint not null default 1,
    flow_name text not null,
    name text not null,
    paused bigint not null,
    record text not null
);

CREATE UNIQUE INDEX deployment_name on deployment (workspace, flow_name, name);

CREATE TABLE "work_queue" (
    id text primary key,
    workspace bigint not null default 1,
    name text not null,
    priority bigint not null,
    paused bigint not null,
    concurrency_limit bigint check (concurrency_limit >= 0),
    record text not null
);

CREATE UNIQUE INDEX work_queue_name on work_queue (workspace, name);

CREATE TABLE "variable" (
    workspace bigint not null default 1,
    name text not null,
    value text not null,
    tags text not null,
    updated_at bigint not null
);

CREATE UNIQUE INDEX variable_name on variable (workspace, name);

CREATE TABLE "artifact_key" (
    workspace bigint not null default 1,
    key text not null,
    version bigint not null,
    latest bigint
);

CREATE UNIQUE INDEX artifact_key_name on artifact_key (workspace, key);

CREATE INDEX artifact_key_latest on artifact_key (latest) where latest is not null;

CREATE TABLE "cache" (
    workspace bigint not null default 1,
    key text not null,
    result text not null,
    task_run_id text not null,
    created_at bigint not null,
    expires_at bigint,
    task_key text not null default '',
    policy text not null default '',
    parts text
);

CREATE UNIQUE INDEX cache_key on cache (workspace, key);

CREATE INDEX cache_task on cache (workspace, task_key, created_at desc);

CREATE TABLE "cache_claim" (
    workspace bigint not null default 1,
    key text not null,
    task_run_id text not null,
    flow_run_id text not null,
    claimed_at bigint not null,
    ask text not null,
    waits_for text
);

CREATE UNIQUE INDEX cache_claim_key on cache_claim (workspace, key);

CREATE INDEX cache_claim_task_run on cache_claim (task_run_id);

CREATE INDEX cache_claim_flow_run on cache_claim (flow_run_id);

CREATE TABLE "slot" (
    limit_id text not null,
    holder text not null,
    primary key (limit_id, holder)
) without rowid;

CREATE INDEX slot_holder on slot (holder);

CREATE INDEX schedule_look on schedule (next_look_at) where active = 1;

CREATE TABLE batch (
    id text primary key,
    at bigint not null
) without rowid;

CREATE TABLE answered (
    key text primary key,
    at bigint not null,
    answer text
, asked text not null default '') without rowid;

CREATE INDEX answered_at on answered (at);

CREATE INDEX batch_at on batch (at);

CREATE TABLE "task_run" (
    n integer primary key,
    id text not null,
    flow_run bigint not null,
    key text not null,
    name text not null,
    state_type text not null,
    state_name text not null,
    state_at bigint not null,
    state_message text not null,
    seq bigint not null,
    attempt bigint not null,
    flow_attempt bigint not null,
    created_at bigint not null,
    started_at bigint,
    ended_at bigint,
    tags text not null,
    upstream text not null,
    cache_key text,
    cache_expires_s double precision,
    retries bigint not null,
    result text,
    error text,
    call text not null default '',
    code text,
    parent_task_id text
);

CREATE TABLE "journal" (
    pos integer primary key,
    run bigint not null,
    seq bigint not null,
    attempt bigint not null,
    state_type text not null,
    state_name text not null,
    at bigint not null,
    message text not null,
    due_at bigint,
    workspace bigint not null default 1,
    actor text
);

CREATE UNIQUE INDEX task_run_id on task_run (id);

CREATE INDEX task_run_flow_run on task_run (flow_run);

CREATE INDEX journal_run on journal (run, seq);

CREATE TABLE run_limit (
    id text primary key,
    workspace bigint not null default 1,
    tag text,
    deployment_id text,
    size bigint not null check (size >= 0),
    check ((tag is null) <> (deployment_id is null))
);

CREATE UNIQUE INDEX run_limit_tag on run_limit (workspace, tag) where tag is not null;

CREATE UNIQUE INDEX run_limit_deployment on run_limit (deployment_id) where deployment_id is not null;

CREATE INDEX flow_run_schedule on flow_run (workspace, schedule_id, expected_start_at desc, n desc) where schedule_id is not null;

CREATE INDEX flow_run_top on flow_run (workspace, expected_start_at desc, n desc) where parent_run_id is null;

CREATE INDEX flow_run_named on flow_run (workspace, state_name, expected_start_at desc, n desc) where lower(state_name) <> state_type;

CREATE INDEX flow_run_plan on flow_run (deployment_id) where state_type = 'scheduled' and attempt = 0;
