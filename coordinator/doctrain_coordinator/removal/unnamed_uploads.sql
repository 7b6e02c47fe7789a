-- name: next
select sha256, bytes from upload where tenant = $1 and sha256 > $2 order by sha256 limit $3

-- name: kept
select plan.upload_bytes, (select coalesce(sum(bytes), 0) from upload where upload.tenant = tenant.id)::bigint as kept
from tenant join plan on plan.name = tenant.plan where tenant.id = $1
