-- name: read_days
select day, trained, unchanged, failed, pages, bytes from usage where tenant = $1 and day between $2 and $3 order by day

-- name: read_stages
select day, stage, took_ms from stage_usage where tenant = $1 and day between $2 and $3

-- name: ended_shards
-- Some whose documents change no more. Those that somebody has locked are left for the next look.
select id from shard where state in (:ShardState.ENDED) and not counted order by id limit $1 for no key update skip locked

-- name: count
-- By the day of a document's end, which is never after today: a worker's clock may be ahead. One that was lost with its worker has no times.
-- What one document says of itself counts up to 10^12, and what it does not say as 0 (greatest() and least() leave nulls out). A sum ends
-- at 10^18, one of milliseconds at 10^14, as a Duration holds no more. Without $2 documents count, and nothing of their stages; those named $3 never do.
with ended as materialized (
    select s.tenant, (least(coalesce(d.started_at + d.took_ms * interval '1 millisecond', now()), now()) at time zone 'utc')::date as day,
        d.state, d.unchanged, d.stages
    from shard s join document d on d.training = s.training and d.ordinal between s.first and s.first + s.count - 1
    where s.id = any($1::bigint[]) and d.state <> :DocumentState.OPEN
), passed as materialized (
    select tenant, day, stage ->> 0 as name, least(greatest((stage ->> 2)::numeric, 0), 1e12) as took_ms,
        case when stage ->> 0 = 'extract' then least(greatest((stage -> 3 ->> 'pages')::numeric, 0), 1e12) end as pages,
        case when stage ->> 0 = 'fetch' then least(greatest((stage -> 3 ->> 'bytes')::numeric, 0), 1e12) end as bytes
    from ended cross join lateral jsonb_array_elements(case when $2::boolean then stages::jsonb end) as stage
    where stage ->> 0 <> $3
), documents as (
    select tenant, day, count(*) filter (where state = :DocumentState.DONE and not unchanged) as trained,
        count(*) filter (where unchanged) as unchanged, count(*) filter (where state = :DocumentState.FAILED) as failed
    from ended group by tenant, day
), content as (
    select tenant, day, least(coalesce(sum(pages), 0), 1e18)::bigint as pages, least(coalesce(sum(bytes), 0), 1e18)::bigint as bytes
    from passed group by tenant, day
), days as (
    insert into usage as known (tenant, day, trained, unchanged, failed, pages, bytes)
    select tenant, day, trained, unchanged, failed, coalesce(pages, 0), coalesce(bytes, 0)
    from documents left join content using (tenant, day) order by tenant, day
    on conflict (tenant, day) do update
    set trained = known.trained + excluded.trained, unchanged = known.unchanged + excluded.unchanged,
        failed = known.failed + excluded.failed, pages = least(known.pages + excluded.pages, 1e18::bigint),
        bytes = least(known.bytes + excluded.bytes, 1e18::bigint)
), stages as (
    insert into stage_usage as known (tenant, day, stage, took_ms)
    select tenant, day, name, least(sum(took_ms), 1e14)::bigint from passed group by tenant, day, name order by tenant, day, name
    on conflict (tenant, day, stage) do update set took_ms = least(known.took_ms + excluded.took_ms, 1e14::bigint)
)
update shard set counted = true where id = any($1::bigint[])
