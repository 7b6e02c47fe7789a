-- name: mark_gone
-- When the session was first seen to be lost, by the database's clock; a sign of life takes it away.
update session set gone_at = coalesce(gone_at, clock_timestamp())
where id = $1 and state = :SessionState.LIVE and ($2::bigint is null or beat = $2) and ($3::int is null or attached = $3) returning id

-- name: losses_beside
-- What decides whether a loss is one of many: how long ago it was, how many seconds after it (before: negative) every other
-- within $2 seconds was, itself included, and how many sessions live on. At stake is more than a count where a document is
-- on trial, or the shard would go on trial; for a session that fenced itself, only where $4 did so before it in a row (0: it did not).
select extract(epoch from clock_timestamp() - mine.gone_at)::float8 as age,
    array(
        select extract(epoch from other.gone_at - mine.gone_at)::float8 from session other
        where other.gone_at between mine.gone_at - $2 * interval '1 second' and mine.gone_at + $2 * interval '1 second'
    ) as apart,
    (select count(*)::int from session where state = :SessionState.LIVE and gone_at is null) as live,
    exists (select 1 from shard where holder = mine.id and state = :ShardState.RUNNING and (trial is not null or losses + 1 >= $3)
        and ($4 = 0 or (fences >= $4 and fenced_open = open))) as at_stake
from session mine where mine.id = $1 and mine.gone_at is not null
