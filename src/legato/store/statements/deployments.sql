-- list_flows:
select id, name, created_at, description from flow order by name;

-- save_deployment:
insert into deployment (id, flow_name, name, paused, record) values (:id, :flow_name, :name, :paused, :record)
on conflict (id) do update set flow_name = excluded.flow_name, name = excluded.name, paused = excluded.paused, record = excluded.record;

-- deployment_by_id:
select record from deployment where id = :id;

-- deployment_by_name:
select record from deployment where flow_name = :flow_name and name = :name;

-- deployments_by_id:
select id, record from deployment where id in :ids*;

-- list_deployments:
select record from deployment order by flow_name, name;

-- delete_deployment: its schedules and their ticks go with it.
delete from deployment where id = :id;

-- schedules_of:
select record, cursor_at from schedule where deployment_id = :deployment_id order by id;

-- all_schedules:
select record, cursor_at from schedule order by id;

-- live_schedules: of deployments that are not paused.
select s.record, s.cursor_at from schedule s join deployment d on d.id = s.deployment_id where s.active = 1 and d.paused = 0 order by s.id;

-- save_schedule: the cursor is kept when only the record changes.
insert into schedule (id, deployment_id, active, version, cursor_at, record) values (:id, :deployment_id, :active, :version, :cursor_at, :record)
on conflict (id) do update set active = excluded.active, version = excluded.version, cursor_at = excluded.cursor_at, record = excluded.record;

-- delete_schedule:
delete from schedule where id = :id;

-- delete_ticks:
delete from tick where schedule_id = :id;

-- move_cursor: only while the schedule is the one that was read, and never back.
update schedule set cursor_at = case when cursor_at is null or cursor_at < :cursor_at then :cursor_at else cursor_at end
where id = :id and version = :version and active = 1;

-- add_tick: no tick becomes two runs, however many schedulers there are.
insert into tick (schedule_id, version, at, run_id) values (:schedule_id, :version, :at, :run_id) on conflict do nothing;

-- unstarted_of_schedule: runs that wait and have never been handed out.
select id from flow_run where schedule_id = :schedule_id and state_type = 'scheduled' and attempt = 0;

-- unstarted_of_deployment: index: flow_run_deployment
select id from flow_run where deployment_id = :deployment_id and state_type = 'scheduled' and attempt = 0 and schedule_id is not null;

-- waiting_of_deployment: index: flow_run_deployment
select id from flow_run where deployment_id = :deployment_id and state_type = 'scheduled';

-- prune_ticks: ticks long behind the cursor; no scheduler that read the schedule that long ago is still at it.
delete from tick where schedule_id = :schedule_id and version = :version and at < :before;
