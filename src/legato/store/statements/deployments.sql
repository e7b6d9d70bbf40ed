-- list_flows:
select id, name, created_at, description from flow where workspace = :workspace order by name;

-- save_deployment:
insert into deployment (workspace, id, flow_name, name, paused, record) values (:workspace, :id, :flow_name, :name, :paused, :record)
on conflict (id) do update set flow_name = excluded.flow_name, name = excluded.name, paused = excluded.paused, record = excluded.record;

-- deployment_by_id:
select record from deployment where id = :id and workspace = :workspace;

-- deployment_by_name:
select record from deployment where workspace = :workspace and flow_name = :flow_name and name = :name;

-- deployment_to_change_by_id: locked before anything that belongs to it, so that what is decided by what it says holds.
select record from deployment where id = :id and workspace = :workspace {lock};

-- deployment_to_change_by_name: the same.
select record from deployment where workspace = :workspace and flow_name = :flow_name and name = :name {lock};

-- deployment_stays: until the commit of whoever makes a run of it wait.
select id from deployment where id = :id {share};

-- deployments_by_id:
select id, record from deployment where id in :ids*;

-- deployments_to_plan: locked by id, before their schedules: what is read here is what whoever saves one at the same time finds planned.
select id, record from deployment where id in :ids* order by id {lock};

-- deployment_of_run:
select deployment_id, deployment_name from flow_run where id = :run_id and deployment_id is not null;

-- list_deployments:
select record from deployment where workspace = :workspace order by flow_name, name;

-- delete_deployment: its schedules and their ticks go with it.
delete from deployment where id = :id;

-- schedules_of:
select record, cursor_at from schedule where deployment_id = :deployment_id order by id;

-- all_schedules:
select s.record, s.cursor_at from schedule s join deployment d on d.id = s.deployment_id where d.workspace = :workspace order by s.id;

-- live_schedules: of deployments that are not paused.
select s.record, s.cursor_at from schedule s join deployment d on d.id = s.deployment_id where s.active = 1 and d.paused = 0 order by s.id;

-- save_schedule: a scheduler looks at it at once.
insert into schedule (id, deployment_id, active, version, cursor_at, record, next_look_at)
values (:id, :deployment_id, :active, :version, :cursor_at, :record, 0)
on conflict (id) do update set active = excluded.active, version = excluded.version, cursor_at = excluded.cursor_at, record = excluded.record,
next_look_at = 0;

-- delete_schedule:
delete from schedule where id = :id;

-- delete_ticks:
delete from tick where schedule_id = :id;

-- move_cursor: only while the schedule is the one that was read, and never back.
update schedule set cursor_at = case when cursor_at is null or cursor_at < :cursor_at then :cursor_at else cursor_at end,
next_look_at = :look_at
where id = :id and version = :version and active = 1;

-- add_tick: no tick becomes two runs, however many schedulers there are.
insert into tick (schedule_id, version, at, run_id) values (:schedule_id, :version, :at, :run_id) on conflict do nothing;

-- unstarted_of_schedule: runs that wait and have never been handed out, locked, so that none is handed out now; those already due are owed, and stay. index: flow_run_schedule
select id from flow_run where workspace = :workspace and schedule_id = :schedule_id and state_type = 'scheduled' and attempt = 0 and +due_at > :now
order by id {lock};

-- unstarted_of_deployment: index: flow_run_plan
select id from flow_run where deployment_id = :deployment_id and state_type = 'scheduled' and attempt = 0 and schedule_id is not null
and due_at > :now order by id {lock};

-- waiting_of_deployment: index: flow_run_deployment
select id from flow_run where workspace = :workspace and deployment_id = :deployment_id and state_type = 'scheduled' order by id {lock};

-- prune_ticks: those of older versions, and ticks long behind the cursor; no scheduler that read the schedule that long ago is still at it.
delete from tick where schedule_id = :schedule_id and (version < :version or at < :before);

-- forget_ticks: those whose run was taken away again, before anybody had it; those of versions before the last; and those long past.
delete from tick where schedule_id = :schedule_id
and (version < :version or at < :before or run_id in :gone* or not exists (select 1 from flow_run r where r.id = run_id));

-- keep_ticks: what became a run stays one, however often its schedule is edited or begun anew, and wherever the clock is set.
update tick set version = :version where schedule_id = :schedule_id and version < :version;

-- due_schedules: those that a scheduler should look at now. index: schedule_look
select s.record, s.cursor_at, d.record from schedule s cross join deployment d
where d.id = s.deployment_id and s.active = 1 and s.next_look_at <= :now and d.paused = 0 and d.workspace = :workspace order by s.next_look_at, s.id limit :limit;

-- look_at_all: from now. A tick that is a run already is not made again.
update schedule set next_look_at = 0, cursor_at = case when cursor_at > :now then :now else cursor_at end where active = 1;

-- deployment_of_schedule:
select deployment_id from schedule where id = :id;

-- followers_of_deployment: what waits to be taken for the first time, due or not: planned by its schedules, or made by hand. index: flow_run_plan
select {flow_run} from flow_run
where deployment_id = :deployment_id and state_type = 'scheduled' and attempt = 0 and (schedule_id is not null or overrides is not null)
order by id {lock};

-- follow_deployment: what a run that nobody has taken takes from its deployment.
update flow_run set parameters = :parameters, tags = :tags, flow_name = :flow_name, deployment_name = :deployment_name,
flow_runner = :flow_runner, retries = :retries, on_lost = :on_lost where id = :id;
