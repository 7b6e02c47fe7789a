-- name: changed_shards
select id, first, count, open, version from shard where training = $1 and version > $2 order by id

-- name: ended_documents
select *, case when state = :DocumentState.DONE then :ShownState.COMPLETED else :ShownState.FAILED end as shown
from document where training = $1 and ordinal between $2 and $3 and state <> :DocumentState.OPEN order by ordinal limit $4
