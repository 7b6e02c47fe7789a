-- name: pause_training
update training set paused = true, version = version + 1 where id = $1 and state in (1, 2) and not paused returning version

-- name: pause_shards
-- A message of a shard that is pending again finds its grant gone and is dropped.
update shard
set state = case when state = 1 then 0 else state end, not_before = case when state = 2 then not_before else 'infinity' end,
    yields = yields or state = 2, version = case when state = 0 then version else $2 end
where training = $1 and state in (0, 1, 2)

-- name: resume_training
update training set paused = false, moved_at = null, version = version + 1 where id = $1 and paused and state in (1, 2) returning version

-- name: resume_shards
update shard set not_before = '-infinity' where training = $1 and state = 0 and not_before = 'infinity'
