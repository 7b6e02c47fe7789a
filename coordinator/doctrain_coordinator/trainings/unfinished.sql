-- name: unsealed
-- Each tenant's oldest, but for some.
select id, tenant from (
    select id, tenant, row_number() over (partition by tenant order by id) as place
    from training where not sealed and state in (:TrainingState.OPEN) and id <> all($1::bigint[])
) as waiting
where place <= 100 order by id

-- name: one_unsealed
select training.id, training.tenant, tenant.name as tenant_id, training.loaded, training.load_offset, training.load_lines,
    training.load_etag, training.load_count, training.manifest_uri, training.load_source, training.load_classes,
    plan.training_documents
from training join tenant on tenant.id = training.tenant join plan on plan.name = tenant.plan
where training.id = $1 and not training.sealed and training.state in (:TrainingState.OPEN)

-- name: try_load
select pg_try_advisory_lock(:AdvisoryLock.LOADING, hashint8($1))

-- name: silent_seconds
select extract(epoch from now() - load_progress_at)::float8 from training where id = $1
