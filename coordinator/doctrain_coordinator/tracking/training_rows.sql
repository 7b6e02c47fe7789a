-- name: lock_trainings
-- Those of the shards $1. Which training a shard is of never changes.
select id, state, sealed, total, completed, failed, version, uri_template, number_offset, traceparent, task_id,
    retrain, coalesce(retry_of, id) as index_order
from training where id = any(array(select training from shard where id = any($1::bigint[]))) order by id for no key update

-- name: update_training
-- Where nothing was recorded for half a minute, nothing moved.
update training
set state = $2, completed = $3, failed = $4, version = $5,
    moved_at = now(),
    pace_from = case when moved_at > now() - interval '30 seconds' then pace_from else now() end,
    pace_done = case when moved_at > now() - interval '30 seconds' then pace_done else $3::int + $4::int end,
    started_at = coalesce(started_at, case when $6::boolean then now() end),
    ended_at = coalesce(ended_at, case when $7::boolean then now() end)
where id = $1
