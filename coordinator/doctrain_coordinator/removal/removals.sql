-- name: wanted
select exists (select 1 from tenant where suspended_at is not null and deleting) or exists (select 1 from removed_training)

-- name: try_lock
select pg_try_advisory_lock(:AdvisoryLock.REMOVAL)
