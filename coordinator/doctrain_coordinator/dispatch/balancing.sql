-- name: granted
-- Whether a shard is granted and not begun.
select exists (select 1 from shard where state = :ShardState.DISPATCHED)

-- name: workers
select id, lanes from taking_session where lanes > 0

-- name: in_lanes
select holder, id, number, yields, open - cardinality(running) as left_open
from shard where has_lane(shard) and holder = any($1::bigint[])
