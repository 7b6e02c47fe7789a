-- name: shards
-- ``to_start``: those that have documents to start, and so take a lane.
select state, count(*)::int as shards, coalesce(sum(open), 0)::bigint as open,
    coalesce(sum(width) filter (where state in (:ShardState.IN_FLIGHT)), 0)::int as used,
    (count(*) filter (where cardinality(running) < open))::int as to_start
from shard where state < :ShardState.DONE group by state

-- name: largest_tenants
select tenant.name, found.pending, found.used
from (
    select tenant, count(*) as shards, (count(*) filter (where state = :ShardState.PENDING))::int as pending,
        coalesce(sum(width) filter (where state in (:ShardState.IN_FLIGHT)), 0)::int as used
    from shard where state < :ShardState.DONE group by tenant order by count(*) desc, tenant limit $1
) found
join tenant on tenant.id = found.tenant
order by found.shards desc, tenant.id

-- name: plans
select plan.name, plan.slots as guaranteed, plan.burst_slots as burst,
    case when pins then concurrency_order.slots else least(plan.allowed, concurrency_order.slots) end as allowed
from plan left join concurrency_order on concurrency_order.plan = plan.name order by plan.name limit 100

-- name: sessions
-- Silent after $1 seconds. ``lanes``: of workers that take new work.
select count(*)::int as live,
    (count(*) filter (where gone_at is not null))::int as lost,
    (count(*) filter (where gone_at is null and silent))::int as silent,
    (count(*) filter (where gone_at is null and not silent and draining))::int as draining,
    (select coalesce(sum(lanes), 0) from taking_session)::int as lanes
from (
    select gone_at, draining, beaten_at < now() - $1 * interval '1 second' as silent from session where state = :SessionState.LIVE
) known
