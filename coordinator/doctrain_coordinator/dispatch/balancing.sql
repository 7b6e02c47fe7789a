-- name: moving
-- Whether a shard is on its way between workers: granted and not begun, or told to yield.
select exists (
    select 1 from shard where state = :ShardState.DISPATCHED or state = :ShardState.RUNNING and yields
)

-- name: workers
select id, lanes from taking_session where lanes > 0

-- name: in_lanes
select holder, id, number, open - cardinality(running) as left_open
from shard where has_lane(shard) and holder = any($1::bigint[])
