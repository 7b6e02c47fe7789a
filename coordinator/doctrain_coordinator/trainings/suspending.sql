-- name: to_settle
-- Trainings that are not as their tenants are: of suspended tenants those that run, of others those that are held.
(
    select g.id, true as suspended from tenant join training g on g.tenant = tenant.id
    where tenant.suspended_at is not null and g.state in (:TrainingState.OPEN) and not g.suspended limit $1
) union all (
    select g.id, false from training g join tenant on tenant.id = g.tenant
    where g.suspended and g.state in (:TrainingState.OPEN) and tenant.suspended_at is null limit $1
)
