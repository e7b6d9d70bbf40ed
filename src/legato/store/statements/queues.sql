-- save_queue:
insert into work_queue (id, name, priority, paused, concurrency_limit, record) values (:id, :name, :priority, :paused, :concurrency_limit, :record)
on conflict (id) do update set name = excluded.name, priority = excluded.priority, paused = excluded.paused,
concurrency_limit = excluded.concurrency_limit, record = excluded.record;

-- queue_by_name:
select record from work_queue where id = :name or name = :name;

-- list_queues: in the order agents take from them.
select record from work_queue order by priority desc, name;

-- queues_to_claim_from: those of the agent's that are not paused, highest priority first.
select id, record from work_queue where name in :names* and paused = 0 order by priority desc, name;

-- lock_queue: only a queue with a limit is locked, in a statement of its own: the next one must see what others committed.
select id from work_queue where id = :id for update;

-- used_slots: index: slot_queue
select count(*) from slot where queue_id = :queue_id;

-- take_slot:
insert into slot (run_id, queue_id) values (:run_id, :queue_id) on conflict (run_id) do update set queue_id = excluded.queue_id;

-- delete_queue:
delete from work_queue where id = :id;

-- running_by_queue: runs that an agent holds, by queue.
select work_queue, count(*) from flow_run where lease_expires_at is not null and work_queue is not null group by work_queue;

-- save_agent:
insert into agent (id, last_seen_at, ended_at, record) values (:id, :last_seen_at, :ended_at, :record)
on conflict (id) do update set last_seen_at = excluded.last_seen_at, ended_at = excluded.ended_at, record = excluded.record;

-- list_agents:
select record from agent where ended_at is null and last_seen_at > :since order by last_seen_at desc;
