-- name: try_lock
select pg_try_advisory_lock(:AdvisoryLock.REMOVAL)
