-- name: room
-- Lanes of the workers that take new work. What the others hold is aside: ``to_start`` and ``used`` as in the next statement.
select (select taking from fleet_lanes) as lanes,
    count(*) filter (where has_lane(shard))::int as to_start_aside,
    coalesce(sum(shard.width), 0)::int as used_aside
from session_intake join shard on shard.holder = session_intake.id and shard.state in (:ShardState.HELD)
where not session_intake.takes

-- name: in_flight
-- ``to_start``: shards that have documents to start, and so take a lane or wait for one.
select tenant, training, sum(width)::int as used,
    (count(*) filter (where state = :ShardState.DISPATCHED or has_lane(shard)))::int as to_start
from shard where state in (:ShardState.IN_FLIGHT) group by tenant, training

-- name: claimants
-- Tenants that have shards that may be granted.
select tenant.id, tenant_limit.slots, tenant.weight
from ready_tenant
join tenant on tenant.id = ready_tenant.tenant and tenant.suspended_at is null
join tenant_limit on tenant_limit.tenant = tenant.id

-- name: runnable
-- Of each of the tenants $3: walks the index from one training with shards that may be granted to the next, so that a million shards of
-- one training cost one step, until $2 trainings were met that have none in flight, so that a thousand trainings cost no more than those.
-- What comes after them has no claim before them: the oldest of those without a shard in flight go first (core/admission.py).
with recursive pair as (
    select tenant, 0::bigint as training, 0 as idle from unnest($3::bigint[]) tenant
    union all
    select pair.tenant, following.training,
        pair.idle + (not exists (select 1 from shard where training = following.training and state in (:ShardState.IN_FLIGHT)))::int
    from pair, lateral (
        select training from ready_shard
        where ready_shard.tenant = pair.tenant and ready_shard.training > pair.training
        order by training limit 1
    ) following
    where pair.idle < $2
)
select pair.tenant, pair.training, pending.id, pending.open, pending.suspected
from pair
join training on training.id = pair.training and training.state in (:TrainingState.OPEN) and not training.paused and not training.suspended
cross join lateral (
    select id, open, cardinality(suspects) > 0 as suspected, shard_number
    from ready_shard
    where ready_shard.tenant = pair.tenant and ready_shard.training = pair.training
    order by shard_number limit $1
) pending
order by pair.tenant, pair.training, pending.shard_number

-- name: lock_tenants
select id, name as tenant_name, plan from tenant where id = any($1::bigint[]) and suspended_at is null order by id for no key update

-- name: lock_startable_trainings
select id, task_id, traceparent from training
where id = any($1::bigint[]) and state in (:TrainingState.OPEN) and not paused and not suspended order by id for share

-- name: grant
-- The limit is read here, after the tenant's lock: a move to another plan, an order or a lowered plan that came before binds it.
update ready_shard shard
set state = :ShardState.DISPATCHED, number = number + 1, width = $2, narrow_to = null, resize = 0, holder = null, yields = false
where id = $1
    and $2 + (select coalesce(sum(width), 0) from shard other where other.tenant = $3 and other.state in (:ShardState.IN_FLIGHT))
        <= (select slots from tenant_limit where tenant_limit.tenant = $3)
returning id, number, tenant, training, first, count, width, shard_number,
    (select last from ended_prefix where ended_prefix.shard = shard.id) as last_processed
