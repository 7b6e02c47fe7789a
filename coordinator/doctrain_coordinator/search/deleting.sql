-- name: next_place
-- A delete's place in the order of trainings: it is newer than all that were started before.
select nextval(pg_get_serial_sequence('training', 'id'))

-- name: documents_of
select document_id from indexed_document where tenant = $1 and training = $2 and not deleted order by document_id limit $3

-- name: lock_documents
-- Those that the delete takes out of the index; whoever writes one now is waited for.
select document_id from indexed_document
where tenant = $1 and document_id = any($2::text[]) and index_order < $3 and ($4::bigint is null or training = $4) and not deleted
order by document_id for update

-- name: delete_documents
-- Of those that are not in the index too, so that a training that has them open does not put them there. Answers which are deleted now.
insert into indexed_document as known (tenant, document_id, training, index_order, deleted)
select $1, document_id, $3, $3, true from unnest($2::text[]) as document_id order by document_id
on conflict (tenant, document_id) do update
set training = excluded.training, index_order = excluded.index_order, ordinal = 0, content_hash = '', recipe = '', media_type = '', metadata = '{}', model = '', chunk_count = 0,
    deleted = true, indexed_at = now()
where known.index_order < excluded.index_order and ($4::bigint is null or known.training = $4)
returning document_id

-- name: delete_chunks
delete from chunk where tenant = $1 and document_id = any($2::text[])

-- name: forget_metadata
-- In the record of trainings. A row that a group commit has now is passed over, so that neither waits for the other with rows locked.
with held as (
    select d.training, d.ordinal
    from training g join document d on d.training = g.id
    where g.tenant = $1 and coalesce(g.retry_of, g.id) < $3 and d.document_id = any($2::text[]) and d.metadata is not null
    for no key update of d skip locked
)
update document d set metadata = null from held where d.training = held.training and d.ordinal = held.ordinal

-- name: remembers_metadata
select exists (
    select 1 from training g join document d on d.training = g.id
    where g.tenant = $1 and coalesce(g.retry_of, g.id) < $3 and d.document_id = any($2::text[]) and d.metadata is not null
)

-- name: unshared_blobs
-- The SHA-256 of the bytes that the documents were ever trained from, without those of documents that are not deleted.
with blob as (
    select distinct substr(d.uri, 8, 64) as sha256
    from training g join document d on d.training = g.id
    where g.tenant = $1 and coalesce(g.retry_of, g.id) < $3 and d.document_id = any($2::text[]) and d.uri like 'blob://%'
)
select sha256 from blob
where not exists (
    select 1 from document d join training g on g.id = d.training
    where substr(d.uri, 8, 64) = blob.sha256 and d.uri like 'blob://%' and g.tenant = $1
        and not exists (
            select 1 from indexed_document i
            where i.tenant = $1 and i.document_id = d.document_id and i.deleted and i.index_order > coalesce(g.retry_of, g.id)
        )
)
