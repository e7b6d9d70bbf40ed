-- save_queue:
insert into work_queue (workspace, id, name, priority, paused, concurrency_limit, record) values (:workspace, :id, :name, :priority, :paused, :concurrency_limit, :record)
on conflict (id) do update set name = excluded.name, priority = excluded.priority, paused = excluded.paused,
concurrency_limit = excluded.concurrency_limit, record = excluded.record;

-- queue_by_name:
select record from work_queue where workspace = :workspace and (id = :name or name = :name) order by case when id = :name then 0 else 1 end;

-- list_queues: in the order agents take from them.
select record from work_queue where workspace = :workspace order by priority desc, name;

-- queues_to_claim_from: those of the agent's that are not paused, locked by id: what is read here holds until the commit.
select record from work_queue where workspace = :workspace and name in :names* and paused = 0 order by id {lock};

-- lock_queue: for a change of it; claims lock it too.
select id from work_queue where id = :id {lock};

-- used_slots: index: the primary key
select limit_id, count(*) from slot where limit_id in :ids* group by limit_id;

-- take_slot:
insert into slot (limit_id, holder) values (:limit_id, :holder) on conflict do nothing;

-- held_of_queue: a queue that gets a name finds the runs that were taken under it and go on: they count. index: flow_run_queue
select id from flow_run where workspace = :workspace and work_queue = :name and lease_expires_at is not null order by id {lock};

-- rename_queue_of_runs: those that are held. index: flow_run_queue
update flow_run set work_queue = :name where workspace = :workspace and work_queue = :old and lease_expires_at is not null;

-- free_slots_of_limit:
delete from slot where limit_id = :id;

-- delete_queue:
delete from work_queue where id = :id;

-- running_by_queue: places held, by queue id. There are as many as runs that agents hold.
select limit_id, count(*) from slot group by limit_id;

-- save_agent:
insert into agent (workspace, id, last_seen_at, ended_at, record) values (:workspace, :id, :last_seen_at, :ended_at, :record)
on conflict (id) do update set last_seen_at = excluded.last_seen_at, ended_at = excluded.ended_at, record = excluded.record;

-- prune_agents: nobody asks for one that has been silent for so long. index: agent_seen
delete from agent where workspace = :workspace and last_seen_at < :before;

-- list_agents:
select record from agent where workspace = :workspace and ended_at is null and last_seen_at > :since order by last_seen_at desc;
