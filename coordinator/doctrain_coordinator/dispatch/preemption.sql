-- name: in_lanes
-- Shards that have a lane, of a worker that takes new shards, or wait for one in the queue, and those that were told to yield.
select shard.id, shard.number, shard.tenant, tenant.weight, tenant_limit.slots, shard.state = :ShardState.DISPATCHED as waiting, shard.yields
from shard
join tenant on tenant.id = shard.tenant
join tenant_limit on tenant_limit.tenant = tenant.id
where shard.state = :ShardState.DISPATCHED
    or shard.state = :ShardState.RUNNING and cardinality(shard.running) < shard.open and shard.holder in (select id from taking_session)

-- name: pending
-- Of each tenant that has shards that may be granted: the slots that it has in use, and what each of the first $1 of those shards would be
-- counted for where $2 slots are a lane's; one step of the index a tenant.
with recursive one as (
    (select tenant from shard where state = :ShardState.PENDING and not_before = '-infinity' order by tenant limit 1)
    union all
    select following.tenant from one, lateral (
        select tenant from shard
        where state = :ShardState.PENDING and not_before = '-infinity' and tenant > one.tenant order by tenant limit 1
    ) following
)
select one.tenant, tenant.weight, tenant_limit.slots, ready.widths,
    (select coalesce(sum(width), 0)::int from shard where shard.tenant = one.tenant and state in (:ShardState.IN_FLIGHT)) as used
from one
join tenant on tenant.id = one.tenant
join tenant_limit on tenant_limit.tenant = tenant.id
cross join lateral (
    select array_agg(width) as widths from (
        select least(open, case when cardinality(suspects) = 0 then $2 else 1 end) as width
        from shard where state = :ShardState.PENDING and not_before = '-infinity' and tenant = one.tenant
        order by training, shard_number limit $1
    ) first_ones
) ready

-- name: lock
select id from shard where id = any($1::bigint[]) order by id for no key update

-- name: withdraw
-- A message of a shard that is pending again finds its grant gone and is dropped.
update shard set state = :ShardState.PENDING where id = $1 and number = $2 and state = :ShardState.DISPATCHED
returning id
