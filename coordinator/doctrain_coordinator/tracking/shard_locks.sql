-- name: wait_briefly
set local lock_timeout = '250ms'

-- name: free
-- Those that nobody has locked now; for an instant, so that who waits for them goes on.
select id from shard where id = any($1::bigint[]) for update skip locked

-- name: wait_for_writers
set local lock_timeout = '1500ms'

-- name: lock
select id from shard where id = $1 for update
