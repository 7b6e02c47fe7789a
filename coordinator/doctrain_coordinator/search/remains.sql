-- name: expect
-- What these documents leave is to be removed by the call that deletes them in this transaction, or else by whoever looks $6 seconds later.
insert into deleted_document as known (tenant, document_id, place, called_at, training, due_at)
select $1, document_id, $3, $4, $5, now() + $6::float8 * interval '1 second' from unnest($2::text[]) as document_id order by document_id
on conflict (tenant, document_id) do update
set place = excluded.place, called_at = excluded.called_at, training = coalesce(excluded.training, known.training), due_at = excluded.due_at
where known.place < excluded.place

-- name: expected
select place, called_at, document_id from deleted_document
where tenant = $1 and document_id = any($2::text[]) order by place, called_at, document_id

-- name: take_due
-- Some that are due; nobody else takes them for $2 seconds.
with due as (
    select tenant, document_id from deleted_document where due_at < now() order by due_at limit $1 for update skip locked
)
update deleted_document d set due_at = now() + $2::float8 * interval '1 second'
from due join tenant on tenant.id = due.tenant
where d.tenant = due.tenant and d.document_id = due.document_id
returning d.tenant, tenant.name, d.document_id

-- name: loading
-- Whether a training that is older than the delete may still bring metadata and names of bytes.
select exists (
    select 1 from training where tenant = $1 and coalesce(retry_of, id) < $2 and state in (:TrainingState.OPEN) and not sealed
)

-- name: finish
-- Not those that have been deleted anew since.
with held as (
    select document_id from deleted_document where tenant = $1 and document_id = any($2::text[]) and place = $3 order by document_id for update
)
delete from deleted_document d using held where d.tenant = $1 and d.document_id = held.document_id and d.place = $3

-- name: leave
-- To whoever looks later; no call waits for it.
with held as (
    select document_id from deleted_document
    where tenant = $1 and document_id = any($2::text[]) and place = $3 and training is not null order by document_id for update
)
update deleted_document d set training = null from held where d.tenant = $1 and d.document_id = held.document_id and d.place = $3

-- name: forget_metadata
-- In the record of trainings. A row that a group commit has now is passed over, so that neither waits for the other with rows locked.
-- ``offset 0`` here and below: by the ids first, of which there are few, however many trainings the tenant has.
with had as materialized (
    select d.training, d.ordinal
    from unnest($2::text[]) as name
    cross join lateral (select training, ordinal from document where document_id = name and metadata is not null offset 0) d
    join training g on g.id = d.training
    where g.tenant = $1 and coalesce(g.retry_of, g.id) < $3
), held as (
    select d.training, d.ordinal from had join document d on d.training = had.training and d.ordinal = had.ordinal
    where d.metadata is not null for no key update of d skip locked
)
update document d set metadata = null from held where d.training = held.training and d.ordinal = held.ordinal

-- name: remembers_metadata
select exists (
    select 1 from unnest($2::text[]) as name
    cross join lateral (select training from document where document_id = name and metadata is not null offset 0) d
    join training g on g.id = d.training
    where g.tenant = $1 and coalesce(g.retry_of, g.id) < $3
)

-- name: blobs
-- The SHA-256 of the bytes that the documents were ever trained from: $4 are the numbers that ids are, in their order.
select substr(d.uri, 8, 64) as sha256
from unnest($2::text[]) as name
cross join lateral (select training, uri from document where document_id = name offset 0) d
join training g on g.id = d.training
where g.tenant = $1 and coalesce(g.retry_of, g.id) < $3 and d.uri like 'blob://%'
union
select substr(g.uri_template, 8, 64)
from training g join unnest($4::bigint[]) as number on number - g.number_offset between 0 and g.load_count - 1
where g.tenant = $1 and g.id < $3 and g.uri_template like 'blob://%'

-- name: unshared
-- Of those, the ones that no document needs that is not deleted, and that nobody stored after the delete was called. All of them, marked so,
-- while a manifest is being loaded, whose further lines may name any. ``offset 0`` makes the planner look each document up by its key.
select blob.sha256, manifest.is_loaded as may_be_named
from unnest($2::text[]) as blob (sha256), (
    select exists (
        select 1 from training g where g.tenant = $1 and g.state in (:TrainingState.OPEN) and not g.sealed and g.manifest_uri is not null
    ) as is_loaded
) as manifest
where manifest.is_loaded or (
    not exists (select 1 from upload u where u.tenant = $1 and u.sha256 = blob.sha256 and u.stored_at > $3)
    and not exists (
        select 1 from document d join training g on g.id = d.training
        where substr(d.uri, 8, 64) = blob.sha256 and d.uri like 'blob://%' and g.tenant = $1
            and not exists (
                select 1 from document_delete x
                where x.tenant = $1 and x.document_id = d.document_id and x.place > coalesce(g.retry_of, g.id)
                offset 0
            )
    )
    and not exists (
        select 1 from training g
        where g.tenant = $1 and substr(g.uri_template, 8, 64) = blob.sha256 and g.uri_template like 'blob://%'
            and (
                (g.state in (:TrainingState.OPEN) and not g.sealed)
                -- What the index has of it says so at once, where looking through its documents may take long.
                or exists (select 1 from indexed_document i where i.tenant = $1 and i.training = g.id and not i.deleted offset 0)
                or exists (
                    select 1 from document d
                    where d.training = g.id
                        and not exists (
                            select 1 from document_delete x
                            where x.tenant = $1 and x.document_id = (d.ordinal + g.number_offset)::text and x.place > g.id
                            offset 0
                        )
                    offset 0
                )
            )
    )
)
