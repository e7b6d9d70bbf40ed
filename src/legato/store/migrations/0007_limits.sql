-- Limits beyond queues': on the runs with a tag, and on those of a deployment. Who holds a place stands in `slot`, as for queues.

create table run_limit (
    id text primary key,
    workspace bigint not null default 1,
    tag text,
    deployment_id text,
    size bigint not null check (size >= 0),
    check ((tag is null) <> (deployment_id is null))
);
create unique index run_limit_tag on run_limit (workspace, tag) where tag is not null;
create unique index run_limit_deployment on run_limit (deployment_id) where deployment_id is not null;
