-- name: by_task
select id from training where tenant = $1 and task_id = $2

-- name: progress
-- Trainings as they stand, of the tenant $2, or of any where it is null; first_open is the ordinal of the first open document, null when
-- none is open.
select g.id, g.tenant, g.task_id, g.state, g.paused, g.suspended, (select task_id from training first where first.id = g.retry_of) as retry_of,
    g.sealed, g.total, g.completed, g.failed, g.unchanged, g.version, g.created_at, g.started_at, g.ended_at, g.reason, g.traceparent, g.uri_template, g.number_offset,
    coalesce(flight.documents, 0)::int as in_progress,
    flight.shards::int as in_flight, flight.running::int as running,
    prefix.ordinal as first_open,
    -- Not joined: a plan made while the table is empty would read all documents of the training for one of them.
    (select document_id from document where training = g.id and ordinal = coalesce(prefix.ordinal, g.total) - 1) as last_id,
    (
        select json_agg(json_build_array(told.running, told.under_way::json))::text from (
            select s.running, s.under_way from shard s
            where s.training = g.id and s.state = :ShardState.RUNNING and s.under_way is not null limit 128
        ) told
    ) as under_way,
    case when g.ended_at > g.started_at then (g.completed + g.failed) / extract(epoch from g.ended_at - g.started_at)
        when g.state in (:TrainingState.OPEN) and g.moved_at is not null and g.pace_from < now() - interval '2 seconds'
        then (g.completed + g.failed - g.pace_done) / extract(epoch from now() - g.pace_from) else 0 end::float8 as pace
from training g
cross join lateral (
    select sum(cardinality(s.running)) as documents, count(*) as shards, count(*) filter (where s.state = :ShardState.RUNNING) as running
    from shard s where s.training = g.id and s.state in (:ShardState.IN_FLIGHT)
) flight
left join lateral (
    select s.first, s.count from shard s
    where g.state in (:TrainingState.OPEN) and s.training = g.id and s.state < :ShardState.DONE order by s.first limit 1
) open_shard on true
left join lateral (
    select s.first, s.count from shard s
    where g.state in (:TrainingState.FAILED, :TrainingState.CANCELLED) and s.training = g.id and s.open > 0 order by s.first limit 1
) left_shard on true
left join lateral (
    select min(d.ordinal) as ordinal from document d
    where d.training = g.id and d.state = :DocumentState.OPEN
        and d.ordinal between coalesce(open_shard.first, left_shard.first)
            and coalesce(open_shard.first, left_shard.first) + coalesce(open_shard.count, left_shard.count) - 1
) prefix on true
where g.id = any($1::bigint[]) and ($2::bigint is null or g.tenant = $2)

-- name: list
select id from training
where tenant = $1 and id < $2 and (cardinality($3::smallint[]) = 0 or state = any($3)) order by id desc limit $4

-- name: waiting
-- What may hold trainings back, of the tenant $2, or of any where it is null, with what of the fleet does: lanes that take new shards and the
-- shards that want one of them; the workers that stay and are kept from new shards, by why, each once.
with fleet as materialized (
    select (select taking from fleet_lanes) as lanes,
        (select count(*) from laned_shard)::int as lanes_used,
        count(*) filter (where cordoned)::int as cordoned,
        count(*) filter (where unsubscribed and not cordoned)::int as unsubscribed,
        count(*) filter (where unfit and not (cordoned or unsubscribed))::int as unfit
    from session_intake where not draining
)
select g.id, tenant_limit.slots, plan.allowed, plan.slots as guaranteed, plan.burst_slots as burst,
    (select coalesce(sum(s.width), 0) from shard s where s.tenant = g.tenant and s.state in (:ShardState.IN_FLIGHT))::int as slots_used,
    (select coalesce(sum(s.width), 0) from shard s where s.training = g.id and s.state in (:ShardState.IN_FLIGHT))::int as own_slots,
    exists (select 1 from ready_shard where ready_shard.tenant = g.tenant and ready_shard.training = g.id) as pending,
    delayed.yield_reason, extract(epoch from delayed.not_before - now())::float8 as yield_seconds,
    fleet.*
from training g
cross join fleet
join tenant on tenant.id = g.tenant
join plan on plan.name = tenant.plan
join tenant_limit on tenant_limit.tenant = tenant.id
left join lateral (
    select s.yield_reason, s.not_before from shard s
    where s.state = :ShardState.PENDING and s.training = g.id and s.not_before > '-infinity' and s.not_before < 'infinity'
    order by s.not_before limit 1
) delayed on true
where g.id = any($1::bigint[]) and ($2::bigint is null or g.tenant = $2)

-- name: held_by_silent
-- Slots that are counted for workers of which nothing has been heard for $3 seconds, and how long ago the last of them was.
select coalesce(sum(shard.width), 0)::int as slots,
    coalesce(sum(shard.width) filter (where shard.training = $2), 0)::int as own_slots,
    extract(epoch from now() - max(session.beaten_at))::float8 as silence
from shard join session on session.id = shard.holder
where shard.tenant = $1 and shard.state in (:ShardState.HELD) and session.state = :SessionState.LIVE
    and (session.gone_at is not null or session.beaten_at < now() - $3 * interval '1 second')

-- name: ahead
-- The tenant's other trainings that hold slots, the largest first.
select training.task_id, sum(shard.width)::int as slots
from shard join training on training.id = shard.training
where shard.tenant = $1 and shard.training <> $2 and shard.state in (:ShardState.IN_FLIGHT)
group by training.task_id order by slots desc, training.task_id limit $3

-- name: running_ordinals
select ordinal from shard, unnest(running) as ordinal where training = $1 and state in (:ShardState.IN_FLIGHT)

-- name: documents
select ordinal, state, shown, attempt, tries, losses, document_id, uri, metadata, unchanged, started_at, took_ms, stages,
    error_class, error_code, error
from (
    select d.*, case
        when d.state = :DocumentState.DONE then :ShownState.COMPLETED
        when d.state = :DocumentState.FAILED then :ShownState.FAILED
        when $2 then :ShownState.CANCELLED
        when d.ordinal = any($3::int[]) then :ShownState.PROCESSING
        else :ShownState.QUEUED end as shown
    from document d where d.training = $1 and d.ordinal > $4 and d.ordinal <= $5
) as listed
where cardinality($6::smallint[]) = 0 or shown = any($6)
order by ordinal limit $7
