-- texts_with_keys: every text in which a storage key may stand, in all workspaces: results, cached values, images, bundles. Reads whole tables.
select result from flow_run where result is not null
union all select result from task_run where result is not null
union all select result from cache where expires_at is null or expires_at > :now
union all select data from artifact
union all select record from deployment;

-- forget_expired: what no task takes any more.
delete from cache where expires_at <= :now;
