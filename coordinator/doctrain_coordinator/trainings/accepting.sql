-- name: known
select id, request_hash from training where tenant = $1 and task_id = $2

-- name: open_trainings
-- The most that the tenant's plan allows, and whether it has them; counts no further than that.
select plan.name as plan, plan.open_trainings as most,
    exists (
        select 1 from training where training.tenant = tenant.id and training.state in (1, 2) offset plan.open_trainings - 1
    ) as all_used
from tenant join plan on plan.name = tenant.plan where tenant.id = $1
