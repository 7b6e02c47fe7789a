-- name: long_documents
select ordinal, :DocumentState.OPEN as state, :ShownState.PROCESSING as shown,
    attempt, tries, losses, document_id, uri, null as metadata, unchanged, null as started_at
from document where training = $1 and ordinal = any($2::int[])
