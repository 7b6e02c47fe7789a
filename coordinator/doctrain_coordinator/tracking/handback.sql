-- name: lock_attached_session
select id from session where id = $1 and state = :SessionState.LIVE and attached = $2 for share

-- name: lock_held_shards_of
select id, training, state, number
from shard where holder = $1 and id = any($2::bigint[]) and state in (:ShardState.HELD) order by id for update

-- name: free_shard
-- Handed back by its holder; for a while ($4 milliseconds) when its documents failed transiently, else at once. Of a training that is
-- paused or suspended (its row is locked) it may not be granted before that is resumed.
update shard
set state = $2, holder = null, running = '{}', trial = null, yields = false, version = $3,
    not_before = case
        when (select paused or suspended from training where training.id = shard.training) then 'infinity'
        when $4::bigint > 0 then now() + $4 * interval '1 millisecond'
        else not_before
    end,
    cool_downs = case when $4 > 0 then cool_downs + 1 else 0 end, yield_reason = case when $4 > 0 then $5 end
where id = $1
