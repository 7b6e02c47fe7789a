-- name: pause_training
update training set paused = true, version = version + 1 where id = $1 and state in (:TrainingState.OPEN) and not paused returning version

-- name: pause_shards
-- A message of a shard that is pending again finds its grant gone and is dropped.
update shard
set state = case when state = :ShardState.DISPATCHED then :ShardState.PENDING else state end,
    not_before = case when state = :ShardState.RUNNING then not_before else 'infinity' end,
    yields = yields or state = :ShardState.RUNNING, version = case when state = :ShardState.PENDING then version else $2 end
where training = $1 and state in (:ShardState.PENDING, :ShardState.DISPATCHED, :ShardState.RUNNING)

-- name: resume_training
update training set paused = false, moved_at = null, version = version + 1
where id = $1 and paused and state in (:TrainingState.OPEN) returning version

-- name: suspend_training
update training set suspended = true, version = version + 1 where id = $1 and state in (:TrainingState.OPEN) and not suspended
returning version

-- name: unsuspend_training
update training set suspended = false, moved_at = null, version = version + 1
where id = $1 and suspended and state in (:TrainingState.OPEN) returning version

-- name: resume_shards
-- Of a training that nothing holds any more.
update shard set not_before = '-infinity'
where training = $1 and state = :ShardState.PENDING and not_before = 'infinity'
    and not exists (select 1 from training where id = $1 and (paused or suspended))
