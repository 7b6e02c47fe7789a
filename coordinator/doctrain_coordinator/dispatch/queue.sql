-- name: queue
select
    count(*) filter (where state = 0) as pending,
    count(*) filter (where state = 1) as dispatched,
    count(*) filter (where state in (2, 3)) as running,
    coalesce(sum(open), 0) as open
from shard where state < 4

-- name: oldest_wait
select extract(epoch from now() - min(training.created_at))::float8
from training
where training.state in (1, 2) and not training.paused
    and exists (select 1 from shard where shard.training = training.id and shard.state = 0 and shard.not_before <= now())

-- name: queue_by_tenant
select tenant.name, plan.slots, count(*) filter (where shard.state = 0) as pending,
    coalesce(sum(shard.width) filter (where shard.state in (1, 2, 3)), 0)::int as used
from shard
join tenant on tenant.id = shard.tenant
join plan on plan.name = tenant.plan
where shard.state < 4 group by tenant.name, plan.slots order by tenant.name limit 1000
