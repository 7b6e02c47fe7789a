-- name: shard
select shard.open, shard.width, shard.suspects, training.task_id, training.uri_template, training.number_offset,
    training.traceparent, tenant.name as tenant_id
from shard
join training on training.id = shard.training
join tenant on tenant.id = shard.tenant
where shard.id = $1

-- name: open_documents
select ordinal, document_id, uri, media_type, metadata
from document where training = $1 and ordinal between $2 and $3 and state = 0 order by ordinal

-- name: open_ordinals
select ordinal from document where training = $1 and ordinal between $2 and $3 and state = 0 order by ordinal
