-- name: sized
-- What is in flight of tenants that have more in use than they may, or less, with nothing to be granted and a shard that could use more,
-- of at most $1 slots. No row while nothing is to change.
select shard.id, shard.number, shard.tenant, shard.width, shard.narrow_to, shard.open, shard.state = :ShardState.RUNNING as runs,
    cardinality(shard.suspects) > 0 as suspected, shard.yields or shard.state = :ShardState.STOPPING as leaving, tenant_limit.slots, ready.waits
from (
    select tenant, sum(width) as used, bool_or(
        state = :ShardState.RUNNING and narrow_to is null and not yields and suspects = '{}' and width < least($1::int, open)
    ) as could_widen
    from shard where state in (:ShardState.IN_FLIGHT) group by tenant
) held
join tenant_limit on tenant_limit.tenant = held.tenant
cross join lateral (
    select exists (select from ready_shard where ready_shard.tenant = held.tenant) as waits
) ready
join shard on shard.tenant = held.tenant and shard.state in (:ShardState.IN_FLIGHT)
where held.used > tenant_limit.slots or (held.used < tenant_limit.slots and held.could_widen and not ready.waits)
order by shard.tenant, shard.id

-- name: lock_tenants
select id from tenant where id = any($1::bigint[]) and suspended_at is null order by id for no key update

-- name: lock_shards
-- One that somebody else has locked is left for the next round.
select id from shard where id = any($1::bigint[]) order by id for no key update skip locked

-- name: widen
-- Counted before the worker hears of it; the limit is read here, after the tenant's lock.
update shard set width = $3, resize = resize + 1
where id = $1 and number = $2 and state = :ShardState.RUNNING and narrow_to is null and not yields and suspects = '{}' and width < $3
    and $3 - width + (select coalesce(sum(width), 0) from shard other where other.tenant = $4 and other.state in (:ShardState.IN_FLIGHT))
        <= (select slots from tenant_limit where tenant_limit.tenant = $4)
returning id

-- name: narrow
-- What runs is counted for its width until its worker says that no more runs; of what was not begun nothing does.
update shard
set width = case when state = :ShardState.RUNNING then width else $3 end, narrow_to = case when state = :ShardState.RUNNING then $3 end,
    resize = resize + 1
where id = $1 and number = $2 and state in (:ShardState.DISPATCHED, :ShardState.RUNNING) and narrow_to is null and width > $3
returning id
