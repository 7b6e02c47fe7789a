-- name: lock_for_end
select id, task_id, state, sealed, total, completed, failed, version from training where id = $1 for no key update

-- name: end_training
update training set state = $2, reason = $3, version = version + 1, ended_at = now(), sealed = true where id = $1 returning version

-- name: running_shards
select id from shard where training = $1 and state = :ShardState.RUNNING

-- name: lock_open_shards
select id from shard where training = $1 and state in (:ShardState.PENDING, :ShardState.DISPATCHED, :ShardState.RUNNING) order by id for update

-- name: end_shards
update shard
set state = case when state = :ShardState.RUNNING then :ShardState.STOPPING else :ShardState.CANCELLED end, version = $2
where training = $1 and state in (:ShardState.PENDING, :ShardState.DISPATCHED, :ShardState.RUNNING)
