-- limits_to_hold_to: all of the workspace, locked by id, after the queues: what is read here holds until the commit.
select id, tag, deployment_id, size from run_limit where workspace = :workspace order by id {lock};

-- list_limits: with the places that are taken.
select l.tag, d.flow_name, d.name, l.size, (select count(*) from slot s where s.limit_id = l.id)
from run_limit l left join deployment d on d.id = l.deployment_id where l.workspace = :workspace order by l.tag, d.flow_name, d.name;

-- limit_of_tag: index: run_limit_tag
select id from run_limit where workspace = :workspace and tag = :tag;

-- limit_of_deployment: index: run_limit_deployment
select id from run_limit where workspace = :workspace and deployment_id = :deployment_id;

-- add_limit:
insert into run_limit (workspace, id, tag, deployment_id, size) values (:workspace, :id, :tag, :deployment_id, :size);

-- resize_limit: waits for a claim that holds to it.
update run_limit set size = :size where id = :id;

-- delete_limit:
delete from run_limit where id = :id;

-- lock_queues: claims lock theirs, so none is under way that does not know of a limit that is made now.
select id from work_queue where workspace = :workspace order by id {lock};

-- held_with_tag: a new limit counts the runs that agents hold already; locked, so that none ends before its place is written. index: tag_name
select r.id from tag t join run_tag x on x.tag = t.n join flow_run r on r.n = x.run
where t.workspace = :workspace and t.name = :tag and r.lease_expires_at is not null and coalesce(r.work_queue, '') <> '' order by r.id {lock_run};

-- held_of_deployment: the same. index: flow_run_deployment
select r.id from flow_run r
where r.workspace = :workspace and r.deployment_id = :deployment_id and r.lease_expires_at is not null and coalesce(r.work_queue, '') <> ''
order by r.id {lock};

-- what_limits_look_at: of runs that may be handed over.
select id, deployment_id, tags from flow_run where id in :ids*;
