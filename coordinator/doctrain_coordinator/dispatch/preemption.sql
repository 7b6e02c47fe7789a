-- name: in_lanes
-- The shards that have a lane or wait for one, also those that were told to yield.
select shard.id, shard.number, shard.tenant, tenant.weight, tenant_limit.slots, shard.state = :ShardState.DISPATCHED as waiting, shard.yields
from laned_shard shard
join tenant on tenant.id = shard.tenant
join tenant_limit on tenant_limit.tenant = tenant.id

-- name: pending
-- Of each tenant that has shards that may be granted: the slots that it has in use, and what each of the first $1 of those shards would be
-- counted for where $2 slots are a lane's.
select tenant.id as tenant, tenant.weight, tenant_limit.slots, ready.widths,
    (select coalesce(sum(width), 0)::int from shard where shard.tenant = tenant.id and state in (:ShardState.IN_FLIGHT)) as used
from ready_tenant
join tenant on tenant.id = ready_tenant.tenant
join tenant_limit on tenant_limit.tenant = tenant.id
cross join lateral (
    select array_agg(width) as widths from (
        select least(open, case when cardinality(suspects) = 0 then $2 else 1 end) as width
        from ready_shard where ready_shard.tenant = tenant.id
        order by training, shard_number limit $1
    ) first_ones
) ready

-- name: lock
select id from shard where id = any($1::bigint[]) order by id for no key update

-- name: withdraw
-- A message of a shard that is pending again finds its grant gone and is dropped.
update shard set state = :ShardState.PENDING where id = $1 and number = $2 and state = :ShardState.DISPATCHED
returning id
