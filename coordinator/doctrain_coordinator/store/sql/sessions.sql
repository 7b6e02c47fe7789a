-- name: open_session
insert into session (worker_id, lanes, version, predecessor, secret_hash, attached) values ($1, $2, $3, $4, $5, 1)
returning id, attached, beat

-- name: attach_session
update session set attached = attached + 1, lanes = $3, gone_at = null, beaten_at = now()
where id = $1 and worker_id = $2 and secret_hash = $4 and state = 1 returning id, attached, beat

-- name: lock_for_beats
-- One that somebody else has locked is left out, whatever its state, and beats the next time.
select id from session where id = any($1::bigint[]) order by id for no key update skip locked

-- name: known_sessions
select id from session where id = any($1::bigint[])

-- name: beat
update session set beat = beat + 1, draining = $3, gone_at = null, beaten_at = now()
where id = $1 and state = 1 and attached = $2 returning id, beat

-- name: held_shards
select holder, id, number, state, yields
from shard where holder = any($1::bigint[]) and state in (2, 3)

-- name: live_sessions
select id, beat, attached from session where state = 1

-- name: forget_sessions
-- What ended more than a day ago is asked for by nobody.
delete from session where id in (
    select id from session where state = 2 and beaten_at < now() - interval '1 day' order by id limit $1
)

-- name: predecessor
select beat, attached from session where id = $1 and worker_id = $2 and secret_hash = $3 and state = 1

-- name: held_by
select id, training from shard where holder = $1 and state in (2, 3)

-- name: mark_gone
-- When the session was first seen to be lost, by the database's clock; a sign of life takes it away.
update session set gone_at = coalesce(gone_at, clock_timestamp())
where id = $1 and state = 1 and ($2::bigint is null or beat = $2) and ($3::int is null or attached = $3) returning id

-- name: losses_beside
-- What decides whether a loss is one of many: how long ago it was, how many seconds after it (before: negative) every other
-- within $2 seconds was, itself included, and how many sessions live on. At stake is more than a count where a document is
-- on trial, or the shard would go on trial; for a session that fenced itself, only where $4 did so before it in a row (0: it did not).
select extract(epoch from clock_timestamp() - mine.gone_at)::float8 as age,
    array(
        select extract(epoch from other.gone_at - mine.gone_at)::float8 from session other
        where other.gone_at between mine.gone_at - $2 * interval '1 second' and mine.gone_at + $2 * interval '1 second'
    ) as apart,
    (select count(*)::int from session where state = 1 and gone_at is null) as live,
    exists (select 1 from shard where holder = mine.id and state = 2 and (trial is not null or losses + 1 >= $3)
        and ($4 = 0 or (fences >= $4 and fenced_open = open))) as at_stake
from session mine where mine.id = $1 and mine.gone_at is not null

-- name: forgive_shards
with charged as (
    select id from shard where id = any($1::bigint[]) order by id for no key update
)
update shard set losses = losses - 1 from charged where shard.id = charged.id and losses > 0

-- name: end_session
-- Nobody is charged for what is lost with one that was draining.
update session set state = 2
where id = $1 and state = 1 and ($2::bigint is null or beat = $2) and ($3::int is null or attached = $3) returning draining, worker_id

-- name: lock_held_shards
select id, training, tenant, state, number, width, first, count, open, running, losses, suspects, trial, fences, fenced_open
from shard where holder = $1 and state in (2, 3) order by id for update

-- name: lock_attached_session
select id from session where id = $1 and state = 1 and attached = $2 for share

-- name: lock_held_shards_of
select id, training, state, number
from shard where holder = $1 and id = any($2::bigint[]) and state in (2, 3) order by id for update

-- name: free_shard
-- Handed back by its holder; for a while ($4 milliseconds) when its documents failed transiently, else at once. Of a training that is
-- paused (its row is locked) it may not be granted before that is resumed.
update shard
set state = $2, holder = null, running = '{}', trial = null, yields = false, version = $3,
    not_before = case
        when (select paused from training where training.id = shard.training) then 'infinity'
        when $4::bigint > 0 then now() + $4 * interval '1 millisecond'
        else not_before
    end,
    cool_downs = case when $4 > 0 then cool_downs + 1 else 0 end, yield_reason = case when $4 > 0 then $5 end
where id = $1

-- name: take_back_shard
update shard
set state = $2, holder = null, running = '{}', trial = null, yields = false, version = $3, losses = $4, suspects = $5, open = $6,
    fences = $7, fenced_open = $6,
    not_before = case when (select paused from training where training.id = shard.training) then 'infinity' else not_before end,
    yield_reason = null
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
