-- Workspaces first in every key that people choose and in every list index; ownership by epoch; what the journal tells beyond runs; places
-- in limits. Large tables get columns (no row is touched), small ones whose keys stand inline are made anew.
-- Foreign keys are off while this runs (see `sqlite.py`): dropping a table that others refer to would empty those too.

alter table flow_run add column workspace bigint not null default 1;
alter table flow_run add column epoch bigint not null default 0;
alter table flow_run add column unstarted bigint not null default 0;
alter table flow_run add column overrides text;
update flow_run set epoch = case
    when attempt <= 0 then 0
    when lease_expires_at is null and agent_id is not null and state_type in ('scheduled', 'paused') then 2 * attempt
    when lease_expires_at is null and state_type in ('scheduled', 'paused') and parent_run_id is null then 2 * attempt
    else 2 * attempt - 1 end;

drop index flow_run_start;
drop index flow_run_state;
drop index flow_run_flow;
drop index flow_run_deployment;
drop index flow_run_name;
drop index flow_run_due;
drop index flow_run_parent;
create index flow_run_start on flow_run (workspace, expected_start_at desc, n desc);
create index flow_run_state on flow_run (workspace, state_type, expected_start_at desc, n desc);
create index flow_run_flow on flow_run (workspace, flow_name, expected_start_at desc, n desc);
create index flow_run_deployment on flow_run (workspace, deployment_id, expected_start_at desc, n desc) where deployment_id is not null;
create index flow_run_parent on flow_run (workspace, parent_run_id, expected_start_at desc, n desc) where parent_run_id is not null;
create index flow_run_name on flow_run (workspace, name);
create index flow_run_due on flow_run (workspace, due_at, n) where state_type = 'scheduled';
create index flow_run_queue on flow_run (workspace, work_queue, expected_start_at desc, n desc) where work_queue is not null;
create index flow_run_agent on flow_run (workspace, agent_id, expected_start_at desc, n desc) where agent_id is not null;
create index flow_run_schedule on flow_run (schedule_id, expected_start_at desc, n desc) where schedule_id is not null;
create index flow_run_held on flow_run (host, expected_start_at, n) where agent_id is null and pid > 0 and epoch % 2 = 1
    and state_type in ('scheduled', 'pending', 'running', 'paused');
create index flow_run_ended on flow_run (workspace, ended_at) where ended_at is not null;
-- what a schedule has planned and nobody has taken
create index flow_run_plan on flow_run (deployment_id) where state_type = 'scheduled' and attempt = 0 and schedule_id is not null;

alter table journal add column workspace bigint not null default 1;
alter table journal add column actor text;

-- what was done to things that are no runs (and wishes about runs): the journal's other half, with positions of its own under the same lock,
-- so that those of the journal stay dense over runs' transitions
create table change (
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

-- the token of the holder that wrote a line; 0 for those of before, and of nobody
alter table log add column epoch bigint not null default 0;
alter table artifact add column workspace bigint not null default 1;
alter table artifact add column epoch bigint not null default 0;
drop index artifact_version;
create unique index artifact_version on artifact (workspace, key, version) where key is not null;
create index artifact_updated on artifact (updated_at);
alter table agent add column workspace bigint not null default 1;
create index agent_seen on agent (workspace, last_seen_at);

create table flow_5 (
    n integer primary key,
    id text not null,
    workspace bigint not null default 1,
    name text not null,
    created_at bigint not null,
    description text not null default ''
);
insert into flow_5 (n, id, name, created_at, description) select n, id, name, created_at, description from flow;
drop table flow;
alter table flow_5 rename to flow;
create unique index flow_id on flow (id);
create unique index flow_name on flow (workspace, name);

create table tag_5 (
    n integer primary key,
    workspace bigint not null default 1,
    name text not null,
    uses bigint not null default 0
);
insert into tag_5 (n, name, uses) select n, name, (select count(*) from run_tag where tag = t.n) from tag t;
drop table tag;
alter table tag_5 rename to tag;
create unique index tag_name on tag (workspace, name);

create table deployment_5 (
    id text primary key,
    workspace bigint not null default 1,
    flow_name text not null,
    name text not null,
    paused bigint not null,
    record text not null
);
insert into deployment_5 (id, flow_name, name, paused, record) select id, flow_name, name, paused, record from deployment;
drop table deployment;
alter table deployment_5 rename to deployment;
create unique index deployment_name on deployment (workspace, flow_name, name);

create table work_queue_5 (
    id text primary key,
    workspace bigint not null default 1,
    name text not null,
    priority bigint not null,
    paused bigint not null,
    concurrency_limit bigint check (concurrency_limit >= 0),
    record text not null
);
insert into work_queue_5 (id, name, priority, paused, concurrency_limit, record)
select id, name, priority, paused, concurrency_limit, record from work_queue;
drop table work_queue;
alter table work_queue_5 rename to work_queue;
create unique index work_queue_name on work_queue (workspace, name);

create table variable_5 (
    workspace bigint not null default 1,
    name text not null,
    value text not null,
    tags text not null,
    updated_at bigint not null
);
insert into variable_5 (name, value, tags, updated_at) select name, value, tags, updated_at from variable;
drop table variable;
alter table variable_5 rename to variable;
create unique index variable_name on variable (workspace, name);

create table artifact_key_5 (
    workspace bigint not null default 1,
    key text not null,
    version bigint not null,
    latest bigint
);
insert into artifact_key_5 (key, version, latest) select key, version, latest from artifact_key;
drop table artifact_key;
alter table artifact_key_5 rename to artifact_key;
create unique index artifact_key_name on artifact_key (workspace, key);
create index artifact_key_latest on artifact_key (latest) where latest is not null;

create table cache_5 (
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
insert into cache_5 (key, result, task_run_id, created_at, expires_at, task_key, policy, parts)
select key, result, task_run_id, created_at, expires_at, task_key, policy, parts from cache;
drop table cache;
alter table cache_5 rename to cache;
create unique index cache_key on cache (workspace, key);
create index cache_task on cache (workspace, task_key, created_at desc);

create table cache_claim_5 (
    workspace bigint not null default 1,
    key text not null,
    task_run_id text not null,
    flow_run_id text not null,
    claimed_at bigint not null,
    ask text not null,
    waits_for text
);
insert into cache_claim_5 (key, task_run_id, flow_run_id, claimed_at, ask, waits_for)
select key, task_run_id, flow_run_id, claimed_at, ask, waits_for from cache_claim;
drop table cache_claim;
alter table cache_claim_5 rename to cache_claim;
create unique index cache_claim_key on cache_claim (workspace, key);
create index cache_claim_task_run on cache_claim (task_run_id);
create index cache_claim_flow_run on cache_claim (flow_run_id);

-- one row a place that a run holds in a limit (a work queue's is the first kind); deleted in the transaction that ends its lease
create table slot_5 (
    limit_id text not null,
    holder text not null,
    primary key (limit_id, holder)
) without rowid;
insert into slot_5 (limit_id, holder) select queue_id, run_id from slot;
drop table slot;
alter table slot_5 rename to slot;
create index slot_holder on slot (holder);

alter table schedule add column next_look_at bigint not null default 0;
create index schedule_look on schedule (next_look_at) where active = 1;

-- batches that hold log lines, so that one sent twice is stored once; and answers to requests that carry a key
create table batch (
    id text primary key,
    at bigint not null
) without rowid;
create table answered (
    key text primary key,
    at bigint not null,
    answer text
) without rowid;
create index answered_at on answered (at);
create index batch_at on batch (at);
