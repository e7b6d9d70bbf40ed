-- The first schema. {key}: an integer key that the database gives out; {no_rowid}: SQLite's "without rowid".
-- Instants are bigint microseconds since 1970 UTC, JSON is text, in both databases, so that one set of statements serves both.
-- task_run, journal and log carry no foreign keys: they are written tens of thousands of times a second, and the rules refuse orphans.

create table flow (
    n {key},
    id text not null unique,
    name text not null unique,
    created_at bigint not null,
    description text not null default ''
);

create table flow_run (
    n {key},
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
    error text,
    check (lease_expires_at is null or state_type in ('scheduled', 'pending', 'running', 'paused'))
);
create index flow_run_start on flow_run (expected_start_at desc, n desc);
create index flow_run_state on flow_run (state_type, expected_start_at desc, n desc);
create index flow_run_flow on flow_run (flow_name, expected_start_at desc, n desc);
create index flow_run_deployment on flow_run (deployment_id, expected_start_at desc, n desc) where deployment_id is not null;
create index flow_run_parent on flow_run (parent_run_id) where parent_run_id is not null;
create index flow_run_name on flow_run (name);
create index flow_run_due on flow_run (due_at, n) where state_type = 'scheduled';
create index flow_run_lease on flow_run (lease_expires_at) where lease_expires_at is not null;

create table tag (
    n {key},
    name text not null unique
);
create table run_tag (
    tag bigint not null references tag (n),
    start_at bigint not null,
    run bigint not null references flow_run (n) on delete cascade,
    primary key (tag, start_at, run)
){no_rowid};
create index run_tag_run on run_tag (run, tag);

create table task_run (
    n {key},
    id text not null unique,
    flow_run_id text not null,
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
    error text
);
create index task_run_flow_run on task_run (flow_run_id, n);

create table journal (
    pos {position},
    kind text not null,
    run_id text not null,
    flow_run_id text not null,
    seq bigint not null,
    attempt bigint not null,
    state_type text not null,
    state_name text not null,
    at bigint not null,
    message text not null,
    due_at bigint
);
create index journal_run on journal (run_id, seq);

create table log (
    n {key},
    flow_run_id text not null,
    task_run_id text,
    at bigint not null,
    level bigint not null,
    logger text not null,
    message text not null
);
create index log_flow_run on log (flow_run_id, n);

create table cache (
    key text primary key,
    result text not null,
    task_run_id text not null,
    created_at bigint not null,
    expires_at bigint
);

create table deployment (
    id text primary key,
    flow_name text not null,
    name text not null,
    paused bigint not null,
    record text not null,
    unique (flow_name, name)
);

create table schedule (
    id text primary key,
    deployment_id text not null references deployment (id) on delete cascade,
    active bigint not null,
    version bigint not null,
    cursor_at bigint,
    record text not null
);
create index schedule_deployment on schedule (deployment_id);

-- one row a tick that became a run: what makes "no tick twice" true however many schedulers there are
create table tick (
    schedule_id text not null references schedule (id) on delete cascade,
    version bigint not null,
    at bigint not null,
    run_id text not null,
    primary key (schedule_id, version, at)
){no_rowid};

create table work_queue (
    id text primary key,
    name text not null unique,
    priority bigint not null,
    paused bigint not null,
    concurrency_limit bigint check (concurrency_limit >= 0),
    record text not null
);

-- one row a run that holds a place in a queue's limit; deleted in the transaction that ends its lease
create table slot (
    run_id text primary key,
    queue_id text not null references work_queue (id) on delete cascade
);
create index slot_queue on slot (queue_id);

create table agent (
    id text primary key,
    last_seen_at bigint not null,
    ended_at bigint,
    record text not null
);
