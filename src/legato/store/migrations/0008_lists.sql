-- Every condition that a list may have has an index in the order of lists, which begins with the workspace: lists merge them (see `streams`).

drop index flow_run_schedule;
create index flow_run_schedule on flow_run (workspace, schedule_id, expected_start_at desc, n desc) where schedule_id is not null;
create index flow_run_top on flow_run (workspace, expected_start_at desc, n desc) where parent_run_id is null;

-- names that say more than the type does: Late, Cached, TimedOut, ...
create index flow_run_named on flow_run (workspace, state_name, expected_start_at desc, n desc) where lower(state_name) <> state_type;
