-- name: begin_training
-- Its key, and for how many lanes it is cut: also for those that take no shards at the moment.
select nextval(pg_get_serial_sequence('training', 'id')) as training, in_session as lanes from fleet_lanes

-- name: lanes
select in_session from fleet_lanes

-- name: insert_training
-- The row that others may wait on comes last in its transaction. There is none for a tenant that is being deleted, nor for a retry whose
-- source was removed meanwhile: the locks keep both here until this transaction ends.
insert into training (
    id, tenant, task_id, request_hash, sealed, loaded, load_offset, load_lines, load_etag, manifest_uri, uri_template,
    number_offset, total, traceparent, load_count, retry_of, load_source, load_classes, retrain
)
overriding system value
select $1, tenant.id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $6, $13, $14, $15, $16, $17, $18
from tenant
where tenant.id = $2 and not tenant.deleting
    and ($16::bigint is null or exists (select 1 from training source where source.id = $16 for key share))
for key share of tenant
on conflict (tenant, task_id) do nothing
returning id

-- name: copy_documents
-- Those with the ordinals $4 of the training $3 become documents of $1, from ordinal $2 on.
insert into document (training, ordinal, document_id, uri, media_type, metadata)
select $1, $2 + copied.place::int - 1, coalesce(d.document_id, (d.ordinal + g.number_offset)::text),
    coalesce(d.uri, replace(g.uri_template, '{n}', (d.ordinal + g.number_offset)::text)), d.media_type, d.metadata
from unnest($4::int[]) with ordinality as copied (ordinal, place)
join training g on g.id = $3
cross join lateral (select * from document where training = $3 and ordinal = copied.ordinal limit 1) d

-- name: insert_shards
-- Numbered from $3 on, in the order of their documents.
insert into shard (training, tenant, shard_number, first, count, open)
select $1, $2, $3::int + cut.place::int - 1, cut.first, cut.count, cut.count
from unnest($4::int[], $5::int[]) with ordinality as cut (first, count, place)

-- name: next_shard_number
select coalesce(max(shard_number), -1) + 1 from shard where training = $1

-- name: lock_loading
select id, task_id, state, sealed, total, completed, failed, version, loaded, paused or suspended as paused
from training where id = $1 and loaded = $2 and state in (:TrainingState.OPEN) and not sealed for no key update

-- name: pause_loaded
-- Shards were stored of a training that is paused or suspended: they wait until it is neither.
update shard set not_before = 'infinity' where training = $1 and first >= $2 and state = :ShardState.PENDING

-- name: advance
update training
set loaded = $2, total = $2, load_offset = $3, load_lines = $4, sealed = $5, state = $6, version = $7,
    ended_at = coalesce(ended_at, case when $8::boolean then now() end), load_progress_at = case when $9::boolean then now() else load_progress_at end
where id = $1

-- name: known_ids
select document_id from document where training = $1 and document_id = any($2::text[])
