-- name: admit
-- A row for bytes that are about to be stored. None where the plan allows no more of them, or for a tenant that is being deleted.
insert into upload (tenant, sha256, bytes)
select tenant.id, $2, $3
from tenant join plan on plan.name = tenant.plan
where tenant.id = $1 and not tenant.deleting and (
    plan.upload_bytes = 0
    or exists (select 1 from upload known where known.tenant = $1 and known.sha256 = $2)
    or $3::bigint + (select coalesce(sum(kept.bytes), 0) from upload kept where kept.tenant = $1) <= plan.upload_bytes
)
for key share of tenant
on conflict (tenant, sha256) do update set stored_at = now()
returning bytes

-- name: limit
select tenant.deleting, plan.name as plan, plan.upload_bytes,
    (select coalesce(sum(bytes), 0) from upload where upload.tenant = tenant.id)::bigint as kept
from tenant join plan on plan.name = tenant.plan where tenant.id = $1

-- name: complete
update upload set complete = true, stored_at = now() where tenant = $1 and sha256 = any($2::text[])

-- name: forget
delete from upload where tenant = $1 and sha256 = any($2::text[])
