-- name: fence
-- KEY SHARE: a take-back waits for it, a group commit does not.
select 1 from shard where id = $1 and number = $2 and holder = $3 and state = :ShardState.RUNNING for key share

-- name: replace_document
insert into indexed_document (
    tenant, document_id, training, index_order, ordinal, content_hash, media_type, metadata, model, chunk_count, recipe, indexed_at
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now())
on conflict (tenant, document_id) do update
set training = excluded.training, index_order = excluded.index_order, ordinal = excluded.ordinal, content_hash = excluded.content_hash,
    media_type = excluded.media_type, metadata = excluded.metadata, model = excluded.model,
    chunk_count = excluded.chunk_count, recipe = excluded.recipe, deleted = false, indexed_at = excluded.indexed_at
where (indexed_document.index_order, indexed_document.training) <= (excluded.index_order, excluded.training)
returning 1

-- name: claim_document
-- A newer training takes over what an older one made of the same bytes; the chunks stay as they are. Answers which one had made it.
-- Where there are no chunks, no model was asked.
with held as (
    select training, index_order, chunk_count from indexed_document
    where tenant = $1 and document_id = $2 and content_hash = $7 and recipe = $8 and (model = $9 or chunk_count = 0) and not deleted
    for update
)
update indexed_document d
set training = $3, index_order = $4, ordinal = $5, metadata = $6, indexed_at = now()
from held
where d.tenant = $1 and d.document_id = $2 and (held.index_order, held.training) <= ($4, $3)
returning held.chunk_count, held.training <> $3 as unchanged

-- name: is_deleted
-- Or its tenant was: a removal looks for blobs after it has marked the tenant, so it finds those that were there before.
select not exists (select 1 from tenant where id = $1 and not deleting)
    or exists (select 1 from indexed_document where tenant = $1 and document_id = $2 and deleted and index_order > $3)

-- name: delete_chunks
delete from chunk where tenant = $1 and document_id = $2

-- name: stage_chunks
-- Seen by this connection only; goes with the transaction.
create temp table staged_chunk (like chunk including defaults) on commit drop

-- name: take_staged_chunks
insert into chunk select * from staged_chunk
