-- name: start_trial
-- A late copy finds its document no longer suspected, so that it cannot take the place of the trial that runs.
update shard set trial = $4 where id = $1 and state = :ShardState.RUNNING and number = $2 and holder = $3 and $4 = any(suspects) returning id
