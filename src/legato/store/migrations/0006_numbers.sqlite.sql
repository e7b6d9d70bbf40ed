-- Task runs and journal entries name their run by its number instead of its id: of what a tracked task takes on disk a third was ids
-- repeated. An entry's `run` is the task run's number, or the flow run's, negated; 0 of what was deleted.
-- A state that is called as its type is has no name there.

create table task_run_6 (
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
insert into task_run_6 (n, id, flow_run, key, name, state_type, state_name, state_at, state_message, seq, attempt, flow_attempt, created_at,
    started_at, ended_at, tags, upstream, cache_key, cache_expires_s, retries, result, error, call, code, parent_task_id)
select t.n, t.id, f.n, t.key, t.name, t.state_type, t.state_name, t.state_at, t.state_message, t.seq, t.attempt, t.flow_attempt, t.created_at,
    t.started_at, t.ended_at, t.tags, t.upstream, t.cache_key, t.cache_expires_s, t.retries, t.result, t.error, t.call, t.code, t.parent_task_id
from task_run t join flow_run f on f.id = t.flow_run_id order by t.n;

create table journal_6 (
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
insert into journal_6 (pos, run, seq, attempt, state_type, state_name, at, message, due_at, workspace, actor)
select j.pos, coalesce(t.n, -f.n, 0), j.seq, j.attempt, j.state_type, case when j.state_name = upper(substr(j.state_type, 1, 1)) || substr(j.state_type, 2) then '' else j.state_name end,
    j.at, case when coalesce(t.n, f.n) is null then '' else j.message end, j.due_at, j.workspace, j.actor
from journal j left join task_run t on t.id = j.run_id and j.kind = 'task' left join flow_run f on f.id = j.run_id and j.kind = 'flow'
order by j.pos;

drop table task_run;
alter table task_run_6 rename to task_run;
create unique index task_run_id on task_run (id);
-- a table's number is part of each of its indexes here
create index task_run_flow_run on task_run (flow_run);

drop table journal;
alter table journal_6 rename to journal;
create index journal_run on journal (run, seq);
