-- The same as the SQLite part, in PostgreSQL's words: here inline keys can be dropped, so no table is made anew.

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
create index flow_run_plan on flow_run (deployment_id) where state_type = 'scheduled' and attempt = 0 and schedule_id is not null;

alter table journal add column workspace bigint not null default 1;
alter table journal add column actor text;

-- what was done to things that are no runs (and wishes about runs): the journal's other half, with positions of its own under the same lock,
-- so that those of the journal stay dense over runs' transitions
create table change (
    pos bigint primary key,
    workspace bigint not null default 1,
    kind text not null,
    subject text not null,
    event text not null,
    at bigint not null,
    actor text not null default '',
    message text not null,
    body text
);

alter table log add column epoch bigint not null default 0;
alter table artifact add column workspace bigint not null default 1;
alter table artifact add column epoch bigint not null default 0;
drop index artifact_version;
create unique index artifact_version on artifact (workspace, key, version) where key is not null;
create index artifact_updated on artifact (updated_at);
alter table agent add column workspace bigint not null default 1;
create index agent_seen on agent (workspace, last_seen_at);

alter table flow add column workspace bigint not null default 1;
alter table flow drop constraint flow_name_key;
create unique index flow_name on flow (workspace, name);

alter table tag add column workspace bigint not null default 1;
alter table tag add column uses bigint not null default 0;
alter table tag drop constraint tag_name_key;
create unique index tag_name on tag (workspace, name);
update tag set uses = (select count(*) from run_tag x where x.tag = tag.n);

alter table deployment add column workspace bigint not null default 1;
alter table deployment drop constraint deployment_flow_name_name_key;
create unique index deployment_name on deployment (workspace, flow_name, name);

alter table work_queue add column workspace bigint not null default 1;
alter table work_queue drop constraint work_queue_name_key;
create unique index work_queue_name on work_queue (workspace, name);

alter table variable add column workspace bigint not null default 1;
alter table variable drop constraint variable_pkey;
create unique index variable_name on variable (workspace, name);

alter table artifact_key add column workspace bigint not null default 1;
alter table artifact_key drop constraint artifact_key_pkey;
create unique index artifact_key_name on artifact_key (workspace, key);

alter table cache add column workspace bigint not null default 1;
alter table cache drop constraint cache_pkey;
create unique index cache_key on cache (workspace, key);
drop index cache_task;
create index cache_task on cache (workspace, task_key, created_at desc);

alter table cache_claim add column workspace bigint not null default 1;
alter table cache_claim drop constraint cache_claim_pkey;
create unique index cache_claim_key on cache_claim (workspace, key);

create table slot_5 (
    limit_id text not null,
    holder text not null,
    primary key (limit_id, holder)
);
insert into slot_5 (limit_id, holder) select queue_id, run_id from slot;
drop table slot;
alter table slot_5 rename to slot;
create index slot_holder on slot (holder);

alter table schedule add column next_look_at bigint not null default 0;
create index schedule_look on schedule (next_look_at) where active = 1;

create table batch (
    id text primary key,
    at bigint not null
);
create table answered (
    key text primary key,
    at bigint not null,
    answer text
);
create index answered_at on answered (at);
create index batch_at on batch (at);

-- parts of runs' names are found by trigrams, where that extension may be had; elsewhere a search reads the names
do $$ begin
    create extension if not exists pg_trgm;
    create index flow_run_name_text on flow_run using gin (lower(name) gin_trgm_ops);
exception when others then null;
end $$;
