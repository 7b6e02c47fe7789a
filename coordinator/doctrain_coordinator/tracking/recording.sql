-- name: record_done
-- Indexing dense arrays by ordinal has one plan, whatever the statistics say. They come as text: a driver that encodes arrays
-- element by element took longer for it than the rest of the commit.
with recorded as (
    update document d
    set state = :DocumentState.DONE, attempt = $4, tries = 1,
        started_at = $5::timestamptz + (select $6::text::int[])[d.ordinal - $2 + 1] * interval '1 millisecond',
        took_ms = (select $7::text::int[])[d.ordinal - $2 + 1]
    where d.training = $1 and d.ordinal between $2 and $3 and d.state = :DocumentState.OPEN and (select $6::text::int[])[d.ordinal - $2 + 1] >= 0
    returning 1
)
select count(*)::int from recorded

-- name: record_failed
with recorded as (
    update document d
    set state = :DocumentState.FAILED, attempt = $3, tries = 1, error_class = $4, error_code = $5, error = $6,
        started_at = $7::timestamptz + $8::int * interval '1 millisecond', took_ms = $9
    where d.training = $1 and d.ordinal = $2 and d.state = :DocumentState.OPEN
    returning 1
)
select count(*)::int from recorded

-- name: set_tries
update document set tries = $4 where training = $1 and ordinal = $2 and attempt = $3 and state <> :DocumentState.OPEN

-- name: set_stages
update document set stages = $4 where training = $1 and ordinal = $2 and attempt = $3 and state <> :DocumentState.OPEN

-- name: record_unchanged
-- Counts each document once, however often it is reported.
with marked as (
    update document set unchanged = true
    where training = $1 and attempt = $2 and ordinal = any($3::int[]) and state = :DocumentState.DONE and not unchanged
    returning 1
)
update training set unchanged = unchanged + (select count(*) from marked) where id = $1
returning (select count(*)::int from marked)

-- name: set_under_way
update shard set under_way = $2 where id = $1
