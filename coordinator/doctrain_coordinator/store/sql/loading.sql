-- name: next_training
select nextval(pg_get_serial_sequence('training', 'id'))

-- name: lanes
select coalesce(sum(lanes), 0)::int from session where state = 1

-- name: insert_training
-- The row that others may wait on comes last in its transaction.
insert into training (
    id, tenant, task_id, request_hash, sealed, loaded, load_offset, load_lines, load_etag, manifest_uri, uri_template,
    number_offset, total, traceparent, load_count
)
overriding system value
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $6, $13, $14)
on conflict (tenant, task_id) do nothing
returning id

-- name: next_shard_number
select coalesce(max(shard_number), -1) + 1 from shard where training = $1

-- name: lock_loading
select id, state, sealed, total, completed, failed, version, loaded
from training where id = $1 and loaded = $2 and state in (1, 2) and not sealed for no key update

-- name: advance
update training
set loaded = $2, total = $2, load_offset = $3, load_lines = $4, sealed = $5, state = $6, version = $7, ended_at = coalesce(ended_at, $8)
where id = $1

-- name: unsealed
select training.id, training.tenant, tenant.name as tenant_id, training.loaded, training.load_offset, training.load_lines,
    training.load_etag, training.load_count, training.manifest_uri, training.uri_template
from training join tenant on tenant.id = training.tenant
where not training.sealed and training.state in (1, 2) order by training.id limit 100

-- name: one_unsealed
select training.id, training.tenant, tenant.name as tenant_id, training.loaded, training.load_offset, training.load_lines,
    training.load_etag, training.load_count, training.manifest_uri, training.uri_template
from training join tenant on tenant.id = training.tenant
where training.id = $1 and not training.sealed and training.state in (1, 2)

-- name: try_load
select pg_try_advisory_lock(1685021795, $1::bigint::int)

-- name: unlock_load
select pg_advisory_unlock(1685021795, $1::bigint::int)

-- name: known_ids
select document_id from document where training = $1 and document_id = any($2::text[]) limit 1
