-- name: fence
-- State 2 is RUNNING. KEY SHARE: a take-back waits for it, a group commit does not.
select 1 from shard where id = $1 and number = $2 and holder = $3 and state = 2 for key share

-- name: replace_document
insert into indexed_document (tenant, document_id, training, ordinal, content_hash, media_type, metadata, model, chunk_count, indexed_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, now())
on conflict (tenant, document_id) do update
set training = excluded.training, ordinal = excluded.ordinal, content_hash = excluded.content_hash,
    media_type = excluded.media_type, metadata = excluded.metadata, model = excluded.model,
    chunk_count = excluded.chunk_count, deleted = false, indexed_at = excluded.indexed_at
where indexed_document.training <= excluded.training
returning 1

-- name: delete_chunks
delete from chunk where tenant = $1 and document_id = $2

-- name: stage_chunks
-- Seen by this connection only; goes with the transaction.
create temp table staged_chunk (like chunk including defaults) on commit drop

-- name: take_staged_chunks
insert into chunk select * from staged_chunk
