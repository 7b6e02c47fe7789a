-- name: open_session
insert into session (worker_id, lanes, version, predecessor, attached) values ($1, $2, $3, $4, 1) returning id, attached, beat

-- name: attach_session
update session set attached = attached + 1, lanes = $3
where id = $1 and worker_id = $2 and state = 1 returning id, attached, beat

-- name: beat
update session set beat = beat + 1, draining = $3 where id = $1 and state = 1 and attached = $2 returning id, beat

-- name: held_shards
select holder, id, number, state, width, order_kind, order_width
from shard where holder = any($1::bigint[]) and state in (2, 3)

-- name: live_sessions
select id, beat, attached from session where state = 1

-- name: predecessor
select beat, attached from session where id = $1 and worker_id = $2 and state = 1

-- name: end_blocking_workers
-- Only what is ours to end; a worker that has a role of its own there is waited for.
select pg_terminate_backend(pid) from pg_stat_activity
where pid = any(pg_blocking_pids($1)) and application_name = 'doctrain worker' and usename = current_user

-- name: trainings_held
select distinct training from shard where holder = $1 and state in (2, 3)

-- name: end_session
-- Answers whether the session was draining: nobody is charged for what is lost with one that goes away.
update session set state = 2
where id = $1 and state = 1 and ($2::bigint is null or beat = $2) and ($3::int is null or attached = $3) returning draining

-- name: lock_held_shards
select id, training, tenant, state, number, width, first, count, open, running, losses, suspects, trial
from shard where holder = $1 and state in (2, 3) order by id for update

-- name: lock_attached_session
select id from session where id = $1 and state = 1 and attached = $2 for share

-- name: lock_held_shards_of
select id, training, state, number, open, losses, suspects
from shard where holder = $1 and id = any($2::bigint[]) and state in (2, 3) order by id for update

-- name: release_shard
update shard
set state = $2, holder = null, running = '{}', trial = null, order_kind = 0, version = $3, losses = $4, suspects = $5, open = $6,
    not_before = coalesce($7, not_before), yield_reason = $8
where id = $1

-- name: document_losses
select losses from document where training = $1 and ordinal = $2

-- name: charge_document
update document set losses = losses + 1 where training = $1 and ordinal = $2 and state = 0

-- name: fail_document
update document
set state = 2, attempt = $3, losses = losses + 1, error_class = 4, error_code = $4, error = $5
where training = $1 and ordinal = $2 and state = 0
returning ordinal

-- name: start_trial
-- A late copy finds its document no longer suspected, so that it cannot take the place of the trial that runs.
update shard set trial = $4 where id = $1 and state = 2 and number = $2 and holder = $3 and $4 = any(suspects) returning id
