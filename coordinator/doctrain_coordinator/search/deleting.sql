-- name: next_place
-- A delete's place in the order of trainings: it is newer than all that were started before.
select nextval(pg_get_serial_sequence('training', 'id')) as place, now() as called_at

-- name: resumed_place
-- The place of a delete that goes on, which whoever calls has kept: it is no newer than what there is.
select least($1, last_value) as place from training_id_seq

-- name: keep_tenant
-- None for a tenant that is being deleted; any other is there until this transaction ends.
select id from tenant where id = $1 and not deleting for key share

-- name: documents_of
-- Those in the index, then those that a call which broke off has taken out of it.
(select document_id from indexed_document where tenant = $1 and training = $2 and not deleted order by document_id limit $3)
union all
(select document_id from deleted_document where tenant = $1 and training = $2 order by document_id limit $3)
limit $3

-- name: lock_documents
-- Those that the delete takes out of the index; whoever writes one now is waited for.
select document_id from indexed_document
where tenant = $1 and document_id = any($2::text[]) and index_order < $3 and ($4::bigint is null or training = $4) and not deleted
order by document_id for update

-- name: delete_documents
-- Of those that are not in the index too, where a training has them or may still load them, so that neither it nor a retry puts them
-- there; of others no mark is left. $5 are the numbers that ids are, in their order. Answers which are deleted now. ``offset 0`` makes the
-- planner look each up by its key.
insert into indexed_document as known (tenant, document_id, training, index_order, deleted)
select $1, named.document_id, $3, $3, true
from unnest($2::text[], $5::bigint[]) as named (document_id, number)
where exists (select 1 from indexed_document i where i.tenant = $1 and i.document_id = named.document_id offset 0)
    or exists (select 1 from training g where g.tenant = $1 and g.state in (:TrainingState.OPEN) and not g.sealed and g.manifest_uri is not null)
    or exists (
        select 1 from training g
        where g.tenant = $1 and g.uri_template is not null and named.number - g.number_offset between 0 and g.load_count - 1
    )
    or exists (
        select 1 from (select training from document d where d.document_id = named.document_id offset 0) had
        join training g on g.id = had.training
        where g.tenant = $1
    )
order by document_id
on conflict (tenant, document_id) do update
set training = excluded.training, index_order = excluded.index_order, ordinal = 0, content_hash = '', recipe = '',
    media_type = '', metadata = '{}', model = '', chunk_count = 0, deleted = true, indexed_at = now()
where known.index_order < excluded.index_order and ($4::bigint is null or known.training = $4)
returning document_id

-- name: delete_chunks
delete from chunk where tenant = $1 and document_id = any($2::text[])
