-- name: end_blocking_workers
-- Only what is ours to end; a worker that has a role of its own there is waited for.
select pg_terminate_backend(pid) from pg_stat_activity
where pid = any(pg_blocking_pids($1)) and application_name = 'doctrain worker' and usename = current_user
