-- name: queue
select
    count(*) filter (where state = :ShardState.PENDING) as pending,
    count(*) filter (where state = :ShardState.PENDING and not_before = 'infinity') as paused,
    count(*) filter (where state = :ShardState.DISPATCHED) as dispatched,
    count(*) filter (where state in (:ShardState.HELD)) as running,
    coalesce(sum(open), 0) as open
from shard where state < :ShardState.DONE

-- name: oldest_wait
select extract(epoch from now() - min(training.created_at))::float8
from training
where training.state in (:TrainingState.OPEN) and not training.paused and not training.suspended
    and exists (select 1 from ready_shard where ready_shard.tenant = training.tenant and ready_shard.training = training.id)

-- name: queue_by_tenant
select tenant.name, tenant_limit.slots, count(*) filter (where shard.state = :ShardState.PENDING) as pending,
    count(*) filter (where shard.state = :ShardState.PENDING and shard.not_before = 'infinity') as paused,
    coalesce(sum(shard.width) filter (where shard.state in (:ShardState.IN_FLIGHT)), 0)::int as used
from shard
join tenant on tenant.id = shard.tenant
join tenant_limit on tenant_limit.tenant = tenant.id
where shard.state < :ShardState.DONE group by tenant.name, tenant_limit.slots order by tenant.name limit 1000
