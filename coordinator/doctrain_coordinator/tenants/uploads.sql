-- name: admit
-- A row for bytes that are about to be stored. None where the plan allows no more of them, or for a tenant that is being deleted. What
-- was on its way $4 seconds ago is no more.
insert into upload as known (tenant, sha256, bytes)
select tenant.id, $2, $3
from tenant join plan on plan.name = tenant.plan
where tenant.id = $1 and not tenant.deleting and (
    plan.upload_bytes = 0
    or exists (select 1 from upload same where same.tenant = $1 and same.sha256 = $2)
    or $3::bigint + (select bytes from kept_of_tenant where kept_of_tenant.tenant = tenant.id) <= plan.upload_bytes
)
for key share of tenant
on conflict (tenant, sha256) do update
set arriving = 1 + case when known.stored_at > now() - $4::float8 * interval '1 second' then known.arriving else 0 end, stored_at = now()
returning bytes

-- name: limit
select tenant.deleting, plan.name as plan, plan.upload_bytes, kept_of_tenant.bytes as kept
from tenant join plan on plan.name = tenant.plan join kept_of_tenant on kept_of_tenant.tenant = tenant.id where tenant.id = $1

-- name: arrived
-- Of each so many times as $3 says. Answers which of them are written down.
with come as (
    select upload.sha256, put.times
    from unnest($2::text[], $3::int[]) as put (sha256, times) join upload on upload.tenant = $1 and upload.sha256 = put.sha256
    order by upload.sha256 for no key update of upload
)
update upload set arriving = greatest(upload.arriving - come.times, 0), stored_at = now()
from come where upload.tenant = $1 and upload.sha256 = come.sha256
returning upload.sha256

-- name: kept
select exists (select 1 from tenant where id = $1 and not deleting)

-- name: patiently
-- What is said to an object store while rows are locked may take longer than a transaction says nothing otherwise.
set local idle_in_transaction_session_timeout = '60s'

-- name: begin_removal
-- Waits for the manifests of the tenant that are being accepted; those that come later wait for the end of this transaction.
select pg_advisory_xact_lock_shared(:AdvisoryLock.UPLOADS, hashint8($1))

-- name: keep_all
select pg_advisory_xact_lock(:AdvisoryLock.UPLOADS, hashint8($1))

-- name: lock
-- Of those, the ones that are not on their way, as those are not that were $3 seconds ago. Whoever stores one of them waits.
select sha256 from upload
where tenant = $1 and sha256 = any($2::text[]) and (arriving = 0 or stored_at <= now() - $3::float8 * interval '1 second')
order by sha256 for update

-- name: forget
delete from upload where tenant = $1 and sha256 = any($2::text[])
