-- Artifacts and variables. Artifacts carry no foreign keys: like log lines they may arrive before, or long after, what they speak of.

create table artifact (
    n {key},
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
);
create unique index artifact_version on artifact (key, version) where key is not null;
create index artifact_flow_run on artifact (flow_run_id, n) where flow_run_id is not null;
create index artifact_task_run on artifact (task_run_id, n) where task_run_id is not null;

-- one row a key: whoever adds a version counts up here, which makes others that add one wait; `latest` is the n of the last version
create table artifact_key (
    key text primary key,
    version bigint not null,
    latest bigint
);
create index artifact_key_latest on artifact_key (latest) where latest is not null;

create table variable (
    name text primary key,
    value text not null,
    tags text not null,
    updated_at bigint not null
);
