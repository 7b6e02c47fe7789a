-- name: identify
-- Expired ones, too, so that it can be said that they are; of a tenant's key with what its calls are looked at for.
select api_key.id, api_key.role, api_key.tenant, tenant.name as tenant_id, api_key.expires_at,
    extract(epoch from api_key.expires_at - now())::float8 as seconds_left,
    tenant.suspended_at is not null as suspended, tenant.suspend_reason, tenant.deleting, tenant.plan, plan.requests_per_second, plan.watches
from api_key
left join tenant on tenant.id = api_key.tenant
left join plan on plan.name = tenant.plan
where api_key.hash = $1 and api_key.revoked_at is null

-- name: tenant_by_name
select id from tenant where name = $1

-- name: lock_tenant
-- Who deletes it takes its keys out of force: before this transaction, or once it has ended.
select deleting from tenant where id = $1 for share

-- name: create
-- None with an end that is over.
insert into api_key (hash, role, tenant, label, expires_at)
select $1, $2, $3, $4, coalesce($6::timestamptz, now() + $5::float8 * interval '1 second')
where $6::timestamptz is null or $6 > now()
returning id, expires_at

-- name: lock_operators
-- Those in force.
select id from api_key where role = $1 and revoked_at is null and (expires_at is null or expires_at > now()) order by id for no key update

-- name: revoke
with key as (
    select id, tenant, revoked_at is null as was_in_force from api_key where id = $1 for no key update
), revoked as (
    update api_key set revoked_at = coalesce(revoked_at, now()) where id = $1
)
select key.was_in_force, tenant.name as tenant_id from key left join tenant on tenant.id = key.tenant

-- name: list
select api_key.id, api_key.role, tenant.name as tenant_id, api_key.label, api_key.created_at, api_key.expires_at, api_key.revoked_at
from api_key left join tenant on tenant.id = api_key.tenant
where api_key.id > $1 and ($2::bigint is null or api_key.tenant = $2) order by api_key.id limit $3

-- name: has_operator
select exists (
    select 1 from api_key where role = $1 and revoked_at is null and (expires_at is null or expires_at > now())
)
