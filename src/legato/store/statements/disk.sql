-- texts_with_keys: every text in which a storage key may stand, in all workspaces: results, cached values, images, bundles. Reads whole tables.
select result from flow_run where result is not null
union all select result from task_run where result is not null
union all select result from cache
union all select data from artifact
union all select record from deployment;
