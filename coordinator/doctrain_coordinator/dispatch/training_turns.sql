-- name: running
-- Of tenants that have all slots in use that they may, and a training that could start and has none: the shards that have
-- a lane. Not of tenants that have a shard which was told to yield.
select shard.tenant, shard.training, shard.id, shard.number, shard.width
from (
    select tenant, sum(width) as used, bool_or(yields) as yields
    from shard where state in (:ShardState.IN_FLIGHT) group by tenant
) counted
join tenant_limit on tenant_limit.tenant = counted.tenant
join shard on shard.tenant = counted.tenant and has_lane(shard)
where counted.used >= tenant_limit.slots and not counted.yields and exists (
    select 1 from training
    where training.tenant = counted.tenant and training.state in (:TrainingState.OPEN) and not training.paused and not training.suspended
        and exists (
            select 1 from ready_shard where ready_shard.tenant = counted.tenant and ready_shard.training = training.id
        )
        and not exists (
            select 1 from shard as busy where busy.training = training.id and busy.state in (:ShardState.IN_FLIGHT)
        )
)
