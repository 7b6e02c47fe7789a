-- name: lock_live_sessions
select id from session where id = any($1::bigint[]) and state = :SessionState.LIVE order by id for share

-- name: lock_shards
select id, training, tenant, first, count, state, number, holder, resize, open, suspects, trial, cool_downs,
    least(width, narrow_to) as told_width
from shard where id = any($1::bigint[]) order by id for no key update

-- name: update_shard
update shard set state = $2, holder = $3, open = $4, running = $5, suspects = $6, trial = $7, version = $8 where id = $1

-- name: order_yield
-- A shard whose suspects have all ended was granted one slot for them: handed back, it is granted what it can use.
update shard set yields = true where id = any($1::bigint[])
