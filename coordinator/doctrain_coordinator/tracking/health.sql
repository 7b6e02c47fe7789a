-- name: judge
update session set unfit = $2, spared = $3 where id = $1 and state = :SessionState.LIVE
