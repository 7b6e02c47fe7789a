-- name: lock_for_beats
-- One that somebody else has locked is left out, whatever its state, and beats the next time.
select session.id, case
    when drain_until > now() then :Intake.DRAINING
    when drain_until is not null then :Intake.CUT
    when cordoned or session_intake.unfit then :Intake.CORDONED
    else :Intake.OPEN
end as intake
from session left join session_intake on session_intake.id = session.id
where session.id = any($1::bigint[]) order by session.id for no key update of session skip locked

-- name: known_sessions
select id from session where id = any($1::bigint[])

-- name: beat
update session set beat = beat + 1, draining = $3, unsubscribed = $4, gone_at = null, beaten_at = now()
where id = $1 and state = :SessionState.LIVE and attached = $2
returning id, beat

-- name: held_shards
select holder, id, number, state, yields, least(width, narrow_to) as told_width, narrow_to is not null as narrows, resize
from shard where holder = any($1::bigint[]) and state in (:ShardState.HELD)

-- name: confirm
-- The holder says that no more runs than it was told: what it was told before, or over an older stream, changes nothing. A shard that
-- somebody else has locked is confirmed by the next heartbeat.
with settled as (
    select shard.id from shard join session on session.id = shard.holder
    where shard.id = $1 and shard.number = $2 and shard.holder = $3 and shard.resize = $4 and shard.narrow_to is not null
        and shard.state = :ShardState.RUNNING and session.state = :SessionState.LIVE and session.attached = $5
    for no key update of shard skip locked
)
update shard set width = narrow_to, narrow_to = null from settled where shard.id = settled.id
