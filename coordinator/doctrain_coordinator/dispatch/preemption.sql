-- name: in_lanes
-- Shards that have a lane, of a worker that takes new shards, or wait for one in the queue, and those that were told to yield.
select shard.id, shard.number, shard.tenant, tenant.weight, plan.slots, shard.state = :ShardState.DISPATCHED as waiting, shard.yields
from shard
join tenant on tenant.id = shard.tenant
join plan on plan.name = tenant.plan
where shard.state = :ShardState.DISPATCHED
    or shard.state = :ShardState.RUNNING and cardinality(shard.running) < shard.open and shard.holder in (select id from taking_session)

-- name: pending
-- Of each tenant that has shards that may be granted: how many, $1 at most; one step of the index a tenant.
with recursive one as (
    (select tenant from shard where state = :ShardState.PENDING and not_before = '-infinity' order by tenant limit 1)
    union all
    select following.tenant from one, lateral (
        select tenant from shard
        where state = :ShardState.PENDING and not_before = '-infinity' and tenant > one.tenant order by tenant limit 1
    ) following
)
select one.tenant, tenant.weight, plan.slots, counted.shards
from one
join tenant on tenant.id = one.tenant
join plan on plan.name = tenant.plan
cross join lateral (
    select count(*)::int as shards from (
        select from shard where state = :ShardState.PENDING and not_before = '-infinity' and tenant = one.tenant limit $1
    ) ready
) counted

-- name: withdraw
-- A message of a shard that is pending again finds its grant gone and is dropped.
update shard set state = :ShardState.PENDING where id = $1 and number = $2 and state = :ShardState.DISPATCHED
returning id

-- name: tell_to_yield
update shard set yields = true where id = $1 and number = $2 and state = :ShardState.RUNNING returning id
