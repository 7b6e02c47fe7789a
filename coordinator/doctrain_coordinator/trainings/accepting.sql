-- name: standing
-- The tenant's training of that id, if any, and the most that its plan allows; counts no further than that.
select known.id as known, known.request_hash, plan.name as plan, plan.slots, plan.open_trainings as most,
    exists (
        select 1 from training where training.tenant = tenant.id and training.state in (:TrainingState.OPEN) offset plan.open_trainings - 1
    ) as all_used
from tenant
join plan on plan.name = tenant.plan
left join training known on known.tenant = tenant.id and known.task_id = $2
where tenant.id = $1
