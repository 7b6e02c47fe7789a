-- name: tenant_name
select name from tenant where id = $1

-- name: open_documents
select ordinal, document_id, uri, media_type, metadata
from document where training = $1 and ordinal between $2 and $3 and state = :DocumentState.OPEN order by ordinal

-- name: open_ordinals
select ordinal from document where training = $1 and ordinal between $2 and $3 and state = :DocumentState.OPEN order by ordinal
