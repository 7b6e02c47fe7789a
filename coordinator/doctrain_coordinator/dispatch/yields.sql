-- name: tell_to_yield
update shard set yields = true where id = $1 and number = $2 and state = :ShardState.RUNNING returning id
