-- The same as the SQLite part, in place.

alter table task_run add column flow_run bigint;
update task_run t set flow_run = f.n from flow_run f where f.id = t.flow_run_id;
delete from task_run where flow_run is null;
alter table task_run alter column flow_run set not null;
drop index task_run_flow_run;
alter table task_run drop column flow_run_id;
create index task_run_flow_run on task_run (flow_run, n);

alter table journal add column run bigint not null default 0;
update journal j set run = t.n from task_run t where j.kind = 'task' and t.id = j.run_id;
update journal j set run = -f.n from flow_run f where j.kind = 'flow' and f.id = j.run_id;
update journal set message = '' where run = 0;
update journal set state_name = '' where state_name = upper(substr(state_type, 1, 1)) || substr(state_type, 2);
drop index journal_run;
alter table journal drop column kind;
alter table journal drop column run_id;
alter table journal drop column flow_run_id;
create index journal_run on journal (run, seq);

-- numbers are taken a thousand at a time
alter sequence flow_run_n_seq increment by 1000;
alter sequence task_run_n_seq increment by 1000;
