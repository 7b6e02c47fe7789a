-- name: changed_shards
select id, first, count, open, version from shard where training = $1 and version > $2 order by id

-- name: ended_documents
select *, case when state = 1 then 3 else 4 end as shown
from document where training = $1 and ordinal between $2 and $3 and state > 0 order by ordinal limit $4
