-- name: next
select sha256, bytes from upload where tenant = $1 and sha256 > $2 order by sha256 limit $3

-- name: kept
select plan.upload_bytes, kept_of_tenant.bytes as kept
from tenant join plan on plan.name = tenant.plan join kept_of_tenant on kept_of_tenant.tenant = tenant.id where tenant.id = $1
