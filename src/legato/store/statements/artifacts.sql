-- artifacts_here: which of these are here already. index: the primary key
select id from artifact where id in :ids*;

-- take_versions: the next ones of a key, up to the number returned; the row stays locked to the end of the transaction.
insert into artifact_key (workspace, key, version) values (:workspace, :key, :count)
on conflict (workspace, key) do update set version = artifact_key.version + excluded.version returning version;

-- add_artifact:
insert into artifact (workspace, id, kind, key, version, title, description, data, flow_run_id, task_run_id, created_at, updated_at, epoch)
values (:workspace, :id, :kind, :key, :version, :title, :description, :data, :flow_run_id, :task_run_id, :created_at, :updated_at, :epoch)
on conflict (id) do nothing;

-- change_artifact: what was told later, by its maker's clock, stays.
update artifact set title = :title, description = :description, data = :data, updated_at = :updated_at
where id = :id and updated_at <= :updated_at;

-- mark_latest: index: artifact_version
update artifact_key set latest = (select n from artifact a
where a.workspace = :workspace and a.key = artifact_key.key order by a.version desc limit 1) where workspace = :workspace and key in :keys*;

-- artifact_by_id:
select n, {artifact} from artifact where id = :id and workspace = :workspace;

-- artifact_of_key: its last version, or the one named. index: artifact_version
select n, {artifact} from artifact where workspace = :workspace and key = :key and (version = :version or :version = 0) order by version desc limit 1;

-- keys_of_run: index: artifact_flow_run
select distinct key from artifact where flow_run_id = :id and key is not null order by key;

-- delete_artifacts: index: artifact_flow_run
delete from artifact where flow_run_id = :id;

-- save_variable:
insert into variable (workspace, name, value, tags, updated_at) values (:workspace, :name, :value, :tags, :now)
on conflict (workspace, name) do update set value = excluded.value, tags = excluded.tags, updated_at = excluded.updated_at;

-- add_variable:
insert into variable (workspace, name, value, tags, updated_at) values (:workspace, :name, :value, :tags, :now)
on conflict (workspace, name) do nothing;

-- variable_by_name:
select name, value, tags, updated_at from variable where workspace = :workspace and name = :name;

-- list_variables:
select name, value, tags, updated_at from variable where workspace = :workspace order by name;

-- delete_variable:
delete from variable where workspace = :workspace and name = :name;
