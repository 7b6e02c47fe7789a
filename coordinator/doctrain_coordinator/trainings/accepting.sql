-- name: standing
-- The tenant's training of that id, if any, and what its plan allows and it has; trainings are counted no further than that.
select known.id as known, known.request_hash, plan.name as plan, tenant_limit.slots, plan.open_trainings, plan.training_documents, plan.open_documents,
    exists (
        select 1 from open_training where open_training.tenant = tenant.id offset plan.open_trainings - 1
    ) as all_used,
    case when plan.open_documents > 0 then (
        select coalesce(sum(documents), 0) from open_training where open_training.tenant = tenant.id
    ) else 0 end::bigint as backlog
from tenant
join plan on plan.name = tenant.plan
join tenant_limit on tenant_limit.tenant = tenant.id
left join training known on known.tenant = tenant.id and known.task_id = $2
where tenant.id = $1 and not tenant.deleting
