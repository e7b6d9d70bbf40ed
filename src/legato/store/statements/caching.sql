-- cached: what is stored under these keys, expired or not, and who made it. index: cache_key
select c.key, c.result, c.created_at, c.expires_at, c.policy, c.parts, t.name, f.name
from cache c left join task_run t on t.id = c.task_run_id left join flow_run f on f.n = t.flow_run where c.workspace = :workspace and c.key in :keys*;

-- latest_cached: a task's latest stored results, under whatever keys. index: cache_task
select c.key, c.result, c.created_at, c.expires_at, c.policy, c.parts, t.name, f.name
from cache c left join task_run t on t.id = c.task_run_id left join flow_run f on f.n = t.flow_run
where c.workspace = :workspace and c.task_key = :task_key order by c.created_at desc limit 8;

-- put_cached: the latest result under a key.
insert into cache (workspace, key, result, task_run_id, created_at, expires_at, task_key, policy, parts)
values (:workspace, :key, :result, :task_run_id, :now, :expires_at, :task_key, :policy, :parts)
on conflict (workspace, key) do update set result = excluded.result, task_run_id = excluded.task_run_id, created_at = excluded.created_at,
expires_at = excluded.expires_at, task_key = excluded.task_key, policy = excluded.policy, parts = excluded.parts;

-- cache_claims: who makes results under these keys. index: cache_claim_key
select c.key, c.task_run_id, c.flow_run_id, c.claimed_at, c.ask, c.waits_for, t.name, f.name
from cache_claim c left join task_run t on t.id = c.task_run_id left join flow_run f on f.id = c.flow_run_id
where c.workspace = :workspace and c.key in :keys*;

-- cache_claims_of: the keys that these task runs make results for. index: cache_claim_task_run
select key, task_run_id, ask from cache_claim where task_run_id in :ids*;

-- put_cache_claim: a new holder, in place of one that is gone.
insert into cache_claim (workspace, key, task_run_id, flow_run_id, claimed_at, ask)
values (:workspace, :key, :task_run_id, :flow_run_id, :now, :ask)
on conflict (workspace, key) do update set task_run_id = excluded.task_run_id, flow_run_id = excluded.flow_run_id, claimed_at = excluded.claimed_at,
ask = excluded.ask, waits_for = null;

-- free_cache_claims: task runs that have ended make nothing. index: cache_claim_task_run
delete from cache_claim where task_run_id in :ids*;

-- note_cache_wait: what the holders that a waiting run is inside of wait for, null when they go on. index: cache_claim_task_run
update cache_claim set waits_for = :key where task_run_id in :ids*;

-- delete_cache_claims: a flow run that is deleted makes nothing. index: cache_claim_flow_run
delete from cache_claim where flow_run_id = :id;

-- holder_facts: whether a flow run still holds what it holds.
select state_type, lease_expires_at, parent_run_id, deployment_id, agent_id, host, pid, state_at, epoch from flow_run where id = :id;
