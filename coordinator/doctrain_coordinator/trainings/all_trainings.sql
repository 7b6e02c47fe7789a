-- name: all
select training.id, tenant.name as tenant_id from training join tenant on tenant.id = training.tenant
where training.id < $1 and (cardinality($2::smallint[]) = 0 or training.state = any($2)) order by training.id desc limit $3

-- name: open
-- Those that have not ended are few and have an index of their own, which the order alone would not use.
with unended as materialized (select id, tenant from training where state in (:TrainingState.OPEN) and state = any($2::smallint[]))
select unended.id, tenant.name as tenant_id from unended join tenant on tenant.id = unended.tenant
where unended.id < $1 order by unended.id desc limit $3
