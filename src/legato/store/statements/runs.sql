-- flow_run_facts: what the rules need of flow runs, with the columns a transition may change. Locked in id order on PostgreSQL.
select id, state_type, state_name, seq, attempt, name, id, cancel_requested_at, lease_expires_at, retries, on_lost, lost,
       state_at, state_message, due_at, started_at, ended_at, work_queue, agent_id, result, error,
       epoch, unstarted, n
from flow_run where id in :ids* order by id {lock};

-- task_run_facts: the same of task runs. They need no lock of their own: whoever writes one holds its flow run's row.
select t.id, t.state_type, t.state_name, t.seq, t.attempt, t.name, f.id, t.started_at, t.state_at, t.state_message, t.ended_at, t.result,
       t.error, t.cache_key, t.cache_expires_s, t.n, t.flow_run
from task_run t join flow_run f on f.n = t.flow_run where t.id in :ids* order by t.id;

-- flow_runs_of_tasks: whose rows are to be locked before the tasks are read.
select distinct f.id from task_run t join flow_run f on f.n = t.flow_run where t.id in :ids*;

-- recorded_state: what the journal holds at a run's sequence number. index: journal_run
select state_type, state_name, at, message from journal where run = :run and seq = :seq;

-- add_flow: a flow, when it is first heard of.
insert into flow (workspace, id, name, created_at) values (:workspace, :id, :name, :now) on conflict (workspace, name) do nothing;

-- add_tag: a tag, when it is first heard of.
insert into tag (workspace, name) values (:workspace, :name) on conflict (workspace, name) do nothing;

-- tag_run: lists by tag are driven by this table, which carries the sort key.
insert into run_tag (tag, start_at, run)
select t.n, r.expected_start_at, r.n from tag t, flow_run r where t.workspace = :workspace and t.name = :name and r.id = :run_id on conflict do nothing;

-- free_slots: runs that end, or wait again, hold no place in a limit.
delete from slot where holder in :ids*;

-- unfinished_tasks: task runs left open under a flow run that is gone. index: task_run_flow_run
select id from task_run where flow_run = (select n from flow_run where id = :flow_run_id) and state_type in ('scheduled', 'pending', 'running', 'paused');

-- unfinished_children: flow runs that ran inside a process that is gone. index: flow_run_parent
select id from flow_run where workspace = :workspace and parent_run_id = :flow_run_id and deployment_id is null
and state_type in ('scheduled', 'pending', 'running', 'paused');

-- outlive: flow runs that go on in the process of one that has ended have a lease of their own from now on. index: flow_run_parent
update flow_run set lease_expires_at = :until, host = (select p.host from flow_run p where p.id = :flow_run_id),
pid = (select p.pid from flow_run p where p.id = :flow_run_id), agent_id = (select p.agent_id from flow_run p where p.id = :flow_run_id)
where workspace = :workspace and parent_run_id = :flow_run_id and deployment_id is null and lease_expires_at is null and epoch % 2 = 1
and state_type in ('scheduled', 'pending', 'running', 'paused');

-- flow_runs_by_id:
select {flow_run} from flow_run where id in :ids* and workspace = :workspace;

-- task_run_by_id:
select {task_run} from task_run t where t.id = :id;

-- task_runs_after: task runs of one flow run, in order of creation. index: task_run_flow_run
select t.n, {task_run} from task_run t where t.flow_run = (select n from flow_run where id = :flow_run_id) and t.n > :after order by t.n limit :limit;

-- count_task_runs: those of the latest attempt that has any: what earlier attempts did is history. index: task_run_flow_run
select f.id, t.state_type, count(*) from flow_run f join task_run t on t.flow_run = f.n where f.id in :ids*
and t.flow_attempt = (select l.flow_attempt from task_run l where l.flow_run = f.n order by l.n desc limit 1)
group by f.id, t.state_type;

-- flow_runs_by_id_prefix: ids that begin with a text, newest first; the text holds only hex digits and dashes.
select {flow_run} from flow_run where id >= :low and id < :high and workspace = :workspace order by id desc limit :limit;

-- flow_runs_by_name: index: flow_run_name
select {flow_run} from flow_run where workspace = :workspace and name = :name order by n desc limit :limit;

-- transitions_of: the journal of one run. index: journal_run
select pos, {journal}, r.flow_name, r.deployment_id, r.tags
from journal j left join task_run t on t.n = j.run left join flow_run r on r.n = coalesce(t.flow_run, -j.run)
where j.run = coalesce((select n from task_run where id = :run_id), -(select n from flow_run where id = :run_id)) order by j.seq;

-- journal_after: recorded transitions, in commit order, with what runs are matched by. index: the primary key
select pos, {journal}, r.flow_name, r.deployment_id, r.tags
from journal j left join task_run t on t.n = j.run left join flow_run r on r.n = coalesce(t.flow_run, -j.run)
where j.pos > :after and j.workspace = :workspace and j.run <> 0
order by j.pos limit :limit;

-- changes_after: what was done to other things, in commit order. index: the primary key
select pos, kind, subject, event, at, actor, message, body from change where pos > :after and workspace = :workspace order by pos limit :limit;

-- hollow_journal: of a run that is deleted nothing is left but the positions, which stay dense. index: journal_run
update journal set run = 0, message = '', due_at = null where run = -(select n from flow_run where id = :id);

-- hollow_journal_of_tasks: nor of its task runs. index: journal_run, task_run_flow_run
update journal set run = 0, message = '', due_at = null
where run in (select t.n from task_run t where t.flow_run = (select n from flow_run where id = :id));

-- journal_position:
select coalesce(max(pos), 0) from journal;

-- count_logs: all lines, warnings, errors. index: log_flow_run
select flow_run_id, count(*), sum(case when level >= 30 and level < 40 then 1 else 0 end), sum(case when level >= 40 then 1 else 0 end)
from log where flow_run_id in :ids* group by flow_run_id;

-- wish_cancel: the wish is a field, not a state; the first one counts.
update flow_run set cancel_requested_at = coalesce(cancel_requested_at, :now) where id = :id;

-- wish_pause: the first wish counts; it is taken back when the run goes on.
update flow_run set pause_requested_at = coalesce(pause_requested_at, :now) where id = :id;

-- forget_wishes: what was wished of an earlier attempt does not hold for the next.
update flow_run set cancel_requested_at = null, pause_requested_at = null where id = :id;

-- forget_pause: an answer is the word to go on, for the run and for those around it, whose wish it may have followed.
update flow_run set pause_requested_at = null where pause_requested_at is not null and id in (
    with recursive around(id, parent) as (
        select id, parent_run_id from flow_run where id = :id
        union all select f.id, f.parent_run_id from flow_run f join around a on f.id = a.parent)
    select id from around);

-- held_by: the process under a run that was taken up again by hand.
update flow_run set host = :host, pid = :pid where id = :id;

-- is_held_by:
select 1 from flow_run where id = :id and host = :host and pid = :pid and agent_id is null;

-- inputs_of: what a run asked people for, in order.
select {run_input} from run_input where flow_run_id = :id order by asked_at, key;

-- ask_input: asked once; asking again (a resumed run) finds the answer, if there is one.
insert into run_input (flow_run_id, key, asked_at, prompt, input_schema) values (:id, :key, :now, :prompt, :schema)
on conflict (flow_run_id, key) do update set prompt = excluded.prompt, input_schema = excluded.input_schema;

-- answer_input: the first answer counts.
update run_input set answered_at = :now, answer = :answer where flow_run_id = :id and key = :key and answered_at is null;

-- delete_inputs:
delete from run_input where flow_run_id = :id;

-- known_runs: which of these are here at all.
select id, epoch, state_name from flow_run where id in :ids*;

-- held_here: the outermost runs that processes of a host hold by themselves. index: flow_run_held
select {flow_run} from flow_run where host = :host and agent_id is null and pid > 0 and epoch % 2 = 1
and state_type in ('scheduled', 'pending', 'running', 'paused') and parent_run_id is null
order by host, expected_start_at, n limit :limit;

-- expired_leases: index: flow_run_lease
select {flow_run} from flow_run where lease_expires_at < :now order by lease_expires_at limit :limit;

-- rename_flow_run: its row is locked by the transition that brings the name.
update flow_run set name = :name where id = :id;

-- next_due: of runs that queues may take. index: flow_run_due
select min(r.due_at) from flow_run r where r.workspace = :workspace and r.state_type = 'scheduled' and r.lease_expires_at is null
and exists (select 1 from deployment d where d.id = r.deployment_id);

-- next_due_after: index: flow_run_due
select min(due_at) from flow_run where workspace = :workspace and state_type = 'scheduled' and lease_expires_at is null and deployment_id is not null and due_at > :after;

-- delete_run: the run; run_tag rows go with it.
delete from flow_run where id = :id;

-- delete_run_tags:
delete from run_tag where run = (select n from flow_run where id = :id);

-- delete_task_runs:
delete from task_run where flow_run = (select n from flow_run where id = :id);

-- delete_logs:
delete from log where flow_run_id = :id;

-- beat: renew the lease of a run that is still its holder's own. One inside another has no lease, and lives as long as that one.
update flow_run set lease_expires_at =
case when lease_expires_at is null and parent_run_id is not null and deployment_id is null then null else :lease end
where id = :id and epoch = :epoch and epoch % 2 = 1 and state_type in ('scheduled', 'pending', 'running', 'paused')
returning id, epoch, cancel_requested_at, pause_requested_at;

-- beats: the same of many, locked by id. PostgreSQL only.
with mine as (
    select r.id from flow_run r join unnest(:ids::text[], :epochs::bigint[]) as g(id, epoch) on g.id = r.id and g.epoch = r.epoch
    where r.epoch % 2 = 1 and r.state_type in ('scheduled', 'pending', 'running', 'paused') order by r.id for no key update of r)
update flow_run r set lease_expires_at =
case when r.lease_expires_at is null and r.parent_run_id is not null and r.deployment_id is null then null else :lease end
from mine where r.id = mine.id returning r.id, r.epoch, r.cancel_requested_at, r.pause_requested_at;

-- add_batch: a batch that holds log lines; none is added that was here before.
insert into batch (id, at) values (:id, :at) on conflict do nothing;

-- prune_batches:
delete from batch where at < :before;

-- grant_grace: every lease once more, from now. index: flow_run_lease
update flow_run set lease_expires_at = :until where lease_expires_at is not null;

-- take_key: whoever comes second waits here for the first, and takes none.
insert into answered (key, at, asked) values (:key, :at, :asked) on conflict do nothing;

-- put_answer:
update answered set answer = :answer where key = :key;

-- answer_of:
select answer, asked from answered where key = :key;

-- forget_key:
delete from answered where key = :key;

-- prune_answers: index: answered_at
delete from answered where at < :before;

-- is_searchable_sqlite:
select 1 from sqlite_master where name = 'flow_run_text';

-- is_searchable_postgres:
select 1 from pg_class where relname = 'flow_run_name_text';

-- flow_with_text: a flow whose name holds a text: of its runs there are many.
select 1 from flow where workspace = :workspace and lower(name) like :text limit 1;

-- runs_with_text_sqlite: by trigrams.
select rowid from flow_run_text where name like :text limit :limit;

-- runs_with_text_postgres: by trigrams.
select n from flow_run where lower(name) like :text limit :limit;

-- runs_with_id: ids that begin with a text.
select n from flow_run where id >= :low and id < :high limit :limit;
