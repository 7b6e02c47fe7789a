-- name: limits
-- What a tenant's plan allows and what of it is in use.
select plan.name as plan, tenant_limit.slots, plan.open_trainings, plan.open_documents, plan.upload_bytes, plan.training_documents,
    plan.requests_per_second, plan.watches, tenant.suspended_at is not null as suspended, tenant.suspend_reason,
    (
        select coalesce(sum(width), 0) from shard where shard.tenant = tenant.id and shard.state in (:ShardState.IN_FLIGHT)
    )::bigint as slots_used,
    open.trainings as open_trainings_used, open.documents as open_documents_used,
    kept_of_tenant.bytes as upload_bytes_used
from tenant
join plan on plan.name = tenant.plan
join tenant_limit on tenant_limit.tenant = tenant.id
join kept_of_tenant on kept_of_tenant.tenant = tenant.id
cross join lateral (
    select count(*) as trainings, coalesce(sum(documents), 0)::bigint as documents from open_training where open_training.tenant = tenant.id
) open
where tenant.id = $1
