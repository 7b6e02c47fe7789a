-- name: identify
select api_key.id, api_key.role, api_key.tenant, tenant.name as tenant_id
from api_key left join tenant on tenant.id = api_key.tenant
where api_key.hash = $1 and api_key.revoked_at is null

-- name: tenant_by_name
select id from tenant where name = $1

-- name: create
insert into api_key (hash, role, tenant, label) values ($1, $2, $3, $4) returning id

-- name: revoke
update api_key set revoked_at = coalesce(revoked_at, now()) where id = $1 returning id

-- name: list
select api_key.id, api_key.role, tenant.name as tenant_id, api_key.label, api_key.created_at, api_key.revoked_at
from api_key left join tenant on tenant.id = api_key.tenant
where api_key.id > $1 and ($2::bigint is null or api_key.tenant = $2) order by api_key.id limit $3

-- name: has_operator
select exists (select 1 from api_key where role = $1 and revoked_at is null)
