-- Who is making a result under a cache key just now, and what the keys of stored results were made of.

alter table cache add column task_key text not null default '';
alter table cache add column policy text not null default '';
alter table cache add column parts text;
create index cache_task on cache (task_key, created_at desc);

-- one row a key that a task run is making a result for: others wait. Gone in the transaction that ends the task run; void when its
-- flow run is over or its lease has run out. waits_for: the key that a run inside the holder waits for, so that circles are seen.
create table cache_claim (
    key text primary key,
    task_run_id text not null,
    flow_run_id text not null,
    claimed_at bigint not null,
    ask text not null,
    waits_for text
){no_rowid};
create index cache_claim_task_run on cache_claim (task_run_id);
create index cache_claim_flow_run on cache_claim (flow_run_id);
