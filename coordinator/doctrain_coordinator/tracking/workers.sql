-- name: workers
-- Of a worker's sessions the newest is its present boot.
select session.id, session.worker_id, session.lanes, session.draining, session.unsubscribed, session.opened_at, session.version, session.unfit, session.spared,
    session.id = max(session.id) over (partition by session.worker_id) as newest,
    extract(epoch from now() - session.beaten_at)::float8 as silence, session.gone_at is not null as gone,
    held.lanes_in_use::int, coalesce(held.slots, 0)::int as slots
from session
cross join lateral (
    select count(*) filter (where has_lane(shard)) as lanes_in_use, sum(width) as slots from shard where holder = session.id and state in (:ShardState.HELD)
) held
where session.state = :SessionState.LIVE order by session.worker_id, session.id

-- name: spared
-- Workers that are not well and work all the same.
select worker_id, unfit from session where state = :SessionState.LIVE and unfit is not null and spared order by worker_id

-- name: intake
-- How many workers in session take new shards; the others by what keeps them from it, each once.
select count(*) filter (where takes)::int as taking,
    count(*) filter (where draining)::int as going_away,
    count(*) filter (where drain_until is not null and not draining)::int as drained,
    count(*) filter (where cordoned and drain_until is null and not draining)::int as cordoned,
    count(*) filter (where unsubscribed and not (draining or cordoned))::int as unsubscribed,
    count(*) filter (where unfit and not (draining or cordoned or unsubscribed))::int as unfit
from session_intake
