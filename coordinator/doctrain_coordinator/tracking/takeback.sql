-- name: held_by
select id, training from shard where holder = $1 and state in (:ShardState.HELD)

-- name: forgive_shards
with charged as (
    select id from shard where id = any($1::bigint[]) order by id for no key update
)
update shard set losses = losses - 1 from charged where shard.id = charged.id and losses > 0

-- name: end_session
-- Nobody is charged for what is lost with one that was draining.
update session set state = :SessionState.LOST
where id = $1 and state = :SessionState.LIVE and ($2::bigint is null or beat = $2) and ($3::int is null or attached = $3)
returning draining, worker_id

-- name: lock_held_shards
select id, training, tenant, state, number, width, first, count, open, running, losses, suspects, trial, fences, fenced_open
from shard where holder = $1 and state in (:ShardState.HELD) order by id for update

-- name: take_back_shard
update shard
set state = $2, holder = null, running = '{}', trial = null, yields = false, version = $3, losses = $4, suspects = $5, open = $6,
    fences = $7, fenced_open = $6,
    not_before = case when (select paused or suspended from training where training.id = shard.training) then 'infinity' else not_before end,
    yield_reason = null
where id = $1

-- name: document_losses
select losses from document where training = $1 and ordinal = $2

-- name: charge_document
update document set losses = losses + 1 where training = $1 and ordinal = $2 and state = :DocumentState.OPEN

-- name: fail_document
update document
set state = :DocumentState.FAILED, attempt = $3, losses = losses + 1, error_class = :ErrorClass.CRASH, error_code = $4, error = $5
where training = $1 and ordinal = $2 and state = :DocumentState.OPEN
returning ordinal
