-- name: shards
-- ``in_lanes``: those that have a lane of a worker that takes new work.
select state, count(*)::int as shards, coalesce(sum(open), 0)::bigint as open,
    coalesce(sum(width) filter (where state in (:ShardState.IN_FLIGHT)), 0)::int as used,
    (count(*) filter (where has_lane(shard) and holder in (select id from taking_session)))::int as in_lanes
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
select plan.name, plan.slots as guaranteed, plan.burst_slots as burst, plan_limit.slots as allowed
from plan join plan_limit on plan_limit.plan = plan.name order by plan.name limit 100

-- name: sessions
-- Those that have not ended, each by what is worst of it. Silent after $1 seconds.
select case
        when gone_at is not null then 'lost'
        when beaten_at < now() - $1 * interval '1 second' then 'silent'
        when session_intake.draining then 'draining'
        when cordoned then 'cordoned'
        when session_intake.unsubscribed then 'unsubscribed'
        when session_intake.unfit then 'unfit'
        when session.unfit is not null then 'spared'
        else 'live'
    end as stands,
    count(*)::int as sessions
from session join session_intake on session_intake.id = session.id where session.state = :SessionState.LIVE group by stands

-- name: lanes
select taking from fleet_lanes
