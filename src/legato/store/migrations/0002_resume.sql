-- What resuming needs: which call a run is inside its parent, the code it ran, where it was forked from, and what a paused run asked for.

alter table flow_run add column entrypoint text not null default '';
alter table flow_run add column call text not null default '';
alter table flow_run add column code text;
alter table flow_run add column forked_from text;
alter table flow_run add column fork_task text;
alter table flow_run add column pause_requested_at bigint;

alter table task_run add column call text not null default '';
alter table task_run add column code text;
alter table task_run add column parent_task_id text;

-- what a paused or suspended run asked a person for, and the answer
create table run_input (
    flow_run_id text not null,
    key text not null,
    asked_at bigint not null,
    prompt text not null,
    input_schema text not null,
    answered_at bigint,
    answer text,
    primary key (flow_run_id, key)
){no_rowid};
