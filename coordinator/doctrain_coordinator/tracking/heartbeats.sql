-- name: lock_for_beats
-- One that somebody else has locked is left out, whatever its state, and beats the next time.
select id from session where id = any($1::bigint[]) order by id for no key update skip locked

-- name: known_sessions
select id from session where id = any($1::bigint[])

-- name: beat
update session set beat = beat + 1, draining = $3, gone_at = null, beaten_at = now()
where id = $1 and state = :SessionState.LIVE and attached = $2
returning id, beat, coalesce(
    (
        select case when drain_until is null then :Intake.CORDONED when drain_until > now() then :Intake.DRAINING else :Intake.CUT end
        from worker_order where worker_order.worker_id = session.worker_id
    ),
    case when unfit is null or spared then :Intake.OPEN else :Intake.CORDONED end
) as intake

-- name: held_shards
select holder, id, number, state, yields
from shard where holder = any($1::bigint[]) and state in (:ShardState.HELD)
