-- name: old
-- The next uploads, by name, that were stored long ago.
select upload.tenant, tenant.name, upload.sha256
from upload join tenant on tenant.id = upload.tenant
where (upload.tenant, upload.sha256) > ($1, $2) and upload.stored_at < now() - $3::float8 * interval '1 day'
order by upload.tenant, upload.sha256 limit $4

-- name: unnamed
-- Of those, the ones that no training names and nobody stored again. While a manifest of the tenant is loaded, its further lines may name
-- any. ``offset 0`` makes the planner look each up by its key: of tables that nothing has analysed yet it else reads all, for each.
select sha256 from upload u
where tenant = $1 and sha256 = any($2::text[]) and stored_at < now() - $3::float8 * interval '1 day'
    and not exists (
        select 1 from training g where g.tenant = $1 and g.state in (:TrainingState.OPEN) and not g.sealed and g.manifest_uri is not null
    )
    and not exists (
        select 1 from document d join training g on g.id = d.training
        where substr(d.uri, 8, 64) = u.sha256 and d.uri like 'blob://%' and g.tenant = $1
        offset 0
    )
    and not exists (
        select 1 from training g where g.tenant = $1 and substr(g.uri_template, 8, 64) = u.sha256 and g.uri_template like 'blob://%' offset 0
    )
