-- name: limits
-- What a tenant's plan allows and what of it is in use. Of a training that is being loaded all its documents count, as far as they are known.
select plan.name as plan, tenant_limit.slots, plan.open_trainings, plan.open_documents, plan.upload_bytes, plan.training_documents,
    plan.requests_per_second, plan.watches, tenant.suspended_at is not null as suspended, tenant.suspend_reason,
    (
        select coalesce(sum(width), 0) from shard where shard.tenant = tenant.id and shard.state in (:ShardState.IN_FLIGHT)
    )::bigint as slots_used,
    open.trainings as open_trainings_used, open.documents as open_documents_used,
    (select coalesce(sum(bytes), 0) from upload where upload.tenant = tenant.id)::bigint as upload_bytes_used
from tenant
join plan on plan.name = tenant.plan
join tenant_limit on tenant_limit.tenant = tenant.id
cross join lateral (
    select count(*) as trainings, coalesce(sum(
        case when sealed or manifest_uri is not null then total else greatest(total, load_count) end - completed - failed
    ), 0)::bigint as documents
    from training where training.tenant = tenant.id and training.state in (:TrainingState.OPEN)
) open
where tenant.id = $1
