-- name: bursting
-- Plans that may burst, with their orders.
select plan.name, plan.slots as guaranteed, plan.burst_slots as burst, plan.allowed, coalesce(pins, false) as pinned,
    case when not pins then concurrency_order.slots end as cap
from plan left join concurrency_order on concurrency_order.plan = plan.name
where plan.burst_slots > plan.slots order by plan.name

-- name: by_index
-- As store/planning.py, for this transaction.
set local enable_seqscan = off

-- name: demand
-- Of the tenants of each plan that have work. ``deprived`` have fewer than their plan guarantees and work that waits; the others are told
-- of those that no order of their own stands for: ``held_back`` have all that they may and work that waits, the ``backlog`` is counted to
-- 100 shards of each.
with used as (
    select tenant, sum(width)::int as slots from shard where state in (:ShardState.IN_FLIGHT) group by tenant
),
working as (
    select tenant.id, tenant.plan, ready.tenant is not null as ready, coalesce(used.slots, 0) as used, tenant_limit.slots as may,
        least(tenant_limit.slots, plan.slots) as guaranteed, concurrency_order.id is null as by_plan
    from ready_tenant ready full join used on used.tenant = ready.tenant
    join tenant on tenant.id = coalesce(ready.tenant, used.tenant)
    join plan on plan.name = tenant.plan
    join tenant_limit on tenant_limit.tenant = tenant.id
    left join concurrency_order on concurrency_order.tenant = tenant.id
)
select working.plan,
    (count(*) filter (where ready and used < guaranteed))::int as deprived,
    (count(*) filter (where ready and used >= may and by_plan))::int as held_back,
    coalesce(max(used) filter (where by_plan), 0)::int as most_used,
    coalesce(sum(waiting.shards), 0)::int as backlog,
    coalesce(extract(epoch from now() - min(waiting.oldest)), 0)::float8 as wait
from working
left join lateral (
    select (
            select count(*) from (select from ready_shard where ready_shard.tenant = working.id limit 100) counted
        ) as shards,
        (
            select created_at from training where training.id = (
                select training from ready_shard where ready_shard.tenant = working.id order by training limit 1
            )
        ) as oldest
) waiting on ready and used >= may and by_plan
group by working.plan

-- name: workers
select id, worker_id, lanes from taking_session

-- name: busy
-- Shards that have a lane of these workers or wait for one.
select count(*) from laned_shard

-- name: allow
-- Unless the plan is another one meanwhile.
with changed as (
    update plan set allowed = $3 where name = $1 and allowed = $2 and $3 between slots and burst_slots returning name
)
insert into concurrency_decision (plan, slots_before, slots_after, reason) select name, $2, $3, $4 from changed returning id

-- name: forget
delete from concurrency_decision where id <= $1::bigint - 1000
