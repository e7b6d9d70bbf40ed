-- What waits to be taken for the first time follows its deployment, whoever made it: a schedule, or a person.

drop index flow_run_plan;
create index flow_run_plan on flow_run (deployment_id) where state_type = 'scheduled' and attempt = 0;

-- what was asked under a key: another request under the same key is told so, and given no answer that is not its own.
alter table answered add column asked text not null default '';
