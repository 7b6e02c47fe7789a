-- name: next_training
select nextval(pg_get_serial_sequence('training', 'id'))

-- name: lanes
select coalesce(sum(lanes), 0)::int from session where state = 1

-- name: insert_training
-- The row that others may wait on comes last in its transaction.
insert into training (
    id, tenant, task_id, request_hash, sealed, loaded, load_offset, load_lines, load_etag, manifest_uri, uri_template,
    number_offset, total, traceparent, load_count, retry_of, load_source, load_classes, retrain
)
overriding system value
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $6, $13, $14, $15, $16, $17, $18)
on conflict (tenant, task_id) do nothing
returning id

-- name: failed_documents
-- Ordinals of those from $2 up to $3 that failed and, unless classes are asked for, were open when the training ended early; $5 at most,
-- that have $6 bytes of metadata at most. Documents that a later training, or an earlier retry, has indexed since, or that were deleted
-- since, are left out. Whatever the statistics say, a document is looked up by its
-- key, there and here: limits within, and ``offset 0``, keep the planner from joining whole tables.
select ordinal from (
    select d.ordinal, sum(coalesce(pg_column_size(d.metadata), 0)) over (order by d.ordinal) as bytes
    from document d join training g on g.id = d.training
    where d.training = $1 and d.ordinal >= $2 and d.ordinal < $3
        and case
            when d.state = 2 then cardinality($4::smallint[]) = 0 or d.error_class = any($4)
            else d.state = 0 and g.state > 2 and cardinality($4) = 0
        end
        and not exists (
            select 1 from indexed_document i
            where i.tenant = g.tenant and i.document_id = coalesce(d.document_id, (d.ordinal + g.number_offset)::text)
                and (i.index_order, i.training) > (coalesce(g.retry_of, g.id), g.id)
            offset 0
        )
    order by d.ordinal limit $5
) as failed
where bytes <= $6 order by ordinal

-- name: failed_by_id
-- Likewise, of those that have one of the ids, or, where documents differ by number only, one of the ordinals.
with wanted as (
    select named.ordinal from unnest($2::text[]) as name
    cross join lateral (select ordinal from document where training = $1 and document_id = name limit 1) named
    union all select unnest($3::int[])
)
select d.ordinal
from wanted
join training g on g.id = $1
cross join lateral (
    select ordinal, document_id from document
    where training = $1 and ordinal = wanted.ordinal
        and case
            when state = 2 then cardinality($4::smallint[]) = 0 or error_class = any($4)
            else state = 0 and g.state > 2 and cardinality($4) = 0
        end
    limit 1
) d
where not exists (
    select 1 from indexed_document i
    where i.tenant = g.tenant and i.document_id = coalesce(d.document_id, (d.ordinal + g.number_offset)::text)
        and (i.index_order, i.training) > (coalesce(g.retry_of, g.id), g.id)
    offset 0
)
order by d.ordinal

-- name: copy_documents
-- Those with the ordinals $4 of the training $3 become documents of $1, from ordinal $2 on.
insert into document (training, ordinal, document_id, uri, media_type, metadata)
select $1, $2 + copied.place::int - 1, coalesce(d.document_id, (d.ordinal + g.number_offset)::text),
    coalesce(d.uri, replace(g.uri_template, '{n}', (d.ordinal + g.number_offset)::text)), d.media_type, d.metadata
from unnest($4::int[]) with ordinality as copied (ordinal, place)
join training g on g.id = $3
cross join lateral (select * from document where training = $3 and ordinal = copied.ordinal limit 1) d

-- name: next_shard_number
select coalesce(max(shard_number), -1) + 1 from shard where training = $1

-- name: lock_loading
select id, state, sealed, total, completed, failed, version, loaded, paused
from training where id = $1 and loaded = $2 and state in (1, 2) and not sealed for no key update

-- name: pause_loaded
-- Shards were stored of a training that is paused: they wait until it is resumed.
update shard set not_before = 'infinity' where training = $1 and first >= $2 and state = 0

-- name: advance
update training
set loaded = $2, total = $2, load_offset = $3, load_lines = $4, sealed = $5, state = $6, version = $7,
    ended_at = coalesce(ended_at, case when $8::boolean then now() end), load_progress_at = now()
where id = $1

-- name: unsealed
-- Each tenant's oldest, but for some.
select id, tenant from (
    select id, tenant, row_number() over (partition by tenant order by id) as place
    from training where not sealed and state in (1, 2) and id <> all($1::bigint[])
) as waiting
where place <= 100 order by id

-- name: one_unsealed
select training.id, training.tenant, tenant.name as tenant_id, training.loaded, training.load_offset, training.load_lines,
    training.load_etag, training.load_count, training.manifest_uri, training.load_source, training.load_classes
from training join tenant on tenant.id = training.tenant
where training.id = $1 and not training.sealed and training.state in (1, 2)

-- name: try_load
select pg_try_advisory_lock(1685021795, $1::bigint::int)

-- name: known_ids
select document_id from document where training = $1 and document_id = any($2::text[])

-- name: silent_seconds
select extract(epoch from now() - load_progress_at)::float8 from training where id = $1
