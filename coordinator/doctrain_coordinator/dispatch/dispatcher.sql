-- name: dispatched
select shard.id, shard.number, shard.tenant, shard.training, shard.first, shard.count, shard.width, shard.shard_number,
    ended_prefix.last as last_processed, tenant.name as tenant_name, tenant.plan, training.task_id, training.traceparent
from shard
join training on training.id = shard.training
join tenant on tenant.id = shard.tenant
join ended_prefix on ended_prefix.shard = shard.id
where shard.state = :ShardState.DISPATCHED

-- name: end_delays
-- Those that are over, the oldest first, $1 at most. A shard that somebody has locked is left for the next round.
update shard set not_before = '-infinity'
where id in (
    select id from shard
    where state = :ShardState.PENDING and not_before > '-infinity' and not_before <= now()
    order by not_before, id limit $1 for no key update skip locked
)

-- name: next_delay_ends_in
-- In seconds; negative while one that is over was not ended. The bounds are there for the index: the first of it is asked for.
select extract(epoch from min(not_before) - now())::float8 from shard
where state = :ShardState.PENDING and not_before > '-infinity' and not_before < 'infinity'

-- name: live_sessions
select id, beat, attached from session where state = :SessionState.LIVE

-- name: forget_sessions
-- What ended more than a day ago is asked for by nobody.
delete from session where id in (
    select id from session where state = :SessionState.LOST and beaten_at < now() - interval '1 day' order by id limit $1
)
