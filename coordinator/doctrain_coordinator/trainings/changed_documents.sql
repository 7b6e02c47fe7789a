-- name: changed_shards
select id, first, count, open, version from shard where training = $1 and version > $2 order by id

-- name: ended_documents
select ordinal, state, case when state = :DocumentState.DONE then :ShownState.COMPLETED else :ShownState.FAILED end as shown, attempt, tries,
    losses, document_id, uri, metadata, unchanged, started_at, took_ms, stages, error_class, error_code, error
from document where training = $1 and ordinal between $2 and $3 and state <> :DocumentState.OPEN order by ordinal limit $4
