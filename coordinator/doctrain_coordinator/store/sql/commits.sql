-- name: shard_facts
-- What of a shard never changes.
select id, training, tenant, first, count from shard where id = any($1::bigint[])

-- name: lock_trainings
select id, state, sealed, total, completed, failed, version, uri_template, number_offset, traceparent, task_id,
    retrain, coalesce(retry_of, id) as index_order
from training where id = any($1::bigint[]) order by id for no key update

-- name: lock_live_sessions
select id from session where id = any($1::bigint[]) and state = 1 order by id for share

-- name: lock_shards
select id, training, state, number, holder, width, open, suspects, trial, cool_downs
from shard where id = any($1::bigint[]) order by id for no key update

-- name: record_done
-- Indexing dense arrays by ordinal has one plan, whatever the statistics say. They come as text: a driver that encodes arrays
-- element by element took longer for it than the rest of the commit.
with recorded as (
    update document d
    set state = 1, attempt = $4, tries = 1,
        started_at = $5::timestamptz + (select $6::text::int[])[d.ordinal - $2 + 1] * interval '1 millisecond',
        took_ms = (select $7::text::int[])[d.ordinal - $2 + 1]
    where d.training = $1 and d.ordinal between $2 and $3 and d.state = 0 and (select $6::text::int[])[d.ordinal - $2 + 1] >= 0
    returning 1
)
select count(*)::int from recorded

-- name: record_failed
with recorded as (
    update document d
    set state = 2, attempt = $3, tries = 1, error_class = $4, error_code = $5, error = $6,
        started_at = $7::timestamptz + $8::int * interval '1 millisecond', took_ms = $9
    where d.training = $1 and d.ordinal = $2 and d.state = 0
    returning 1
)
select count(*)::int from recorded

-- name: set_tries
update document set tries = $4 where training = $1 and ordinal = $2 and attempt = $3 and state > 0

-- name: set_stages
update document set stages = $4 where training = $1 and ordinal = $2 and attempt = $3 and state > 0

-- name: record_unchanged
-- Counts each document once, however often it is reported.
with marked as (
    update document set unchanged = true
    where training = $1 and attempt = $2 and ordinal = any($3::int[]) and state = 1 and not unchanged
    returning 1
)
update training set unchanged = unchanged + (select count(*) from marked) where id = $1

-- name: update_shard
update shard set state = $2, holder = $3, open = $4, running = $5, suspects = $6, trial = $7, version = $8 where id = $1

-- name: order_yield
-- A shard whose suspects have all ended was granted one slot for them: handed back, it is granted what it can use.
update shard set yields = true where id = any($1::bigint[])

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
