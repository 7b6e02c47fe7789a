-- name: lead
-- Waits for the leader before to go.
select pg_advisory_lock(:AdvisoryLock.LEADERSHIP)
