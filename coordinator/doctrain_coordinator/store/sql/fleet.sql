-- name: workers
-- Of a worker's sessions the newest is its present boot.
select session.id, session.worker_id, session.lanes, session.draining, session.opened_at, session.version,
    session.id = max(session.id) over (partition by session.worker_id) as newest,
    extract(epoch from now() - session.beaten_at)::float8 as silence, session.gone_at is not null as gone,
    coalesce(held.shards, 0)::int as shards, coalesce(held.slots, 0)::int as slots
from session
left join lateral (
    select count(*) as shards, sum(width) as slots from shard where holder = session.id and state in (2, 3)
) held on true
where session.state = 1 order by session.worker_id, session.id

-- name: queue
select
    count(*) filter (where state = 0) as pending,
    count(*) filter (where state = 1) as dispatched,
    count(*) filter (where state in (2, 3)) as running,
    coalesce(sum(open), 0) as open
from shard where state < 4

-- name: oldest_wait
select extract(epoch from now() - min(training.created_at))::float8
from training
where training.state in (1, 2) and not training.paused
    and exists (select 1 from shard where shard.training = training.id and shard.state = 0 and shard.not_before <= now())

-- name: queue_by_tenant
select tenant.name, plan.slots, count(*) filter (where shard.state = 0) as pending,
    coalesce(sum(shard.width) filter (where shard.state in (1, 2, 3)), 0)::int as used
from shard
join tenant on tenant.id = shard.tenant
join plan on plan.name = tenant.plan
where shard.state < 4 group by tenant.name, plan.slots order by tenant.name limit 1000

-- name: create_tenant
insert into tenant (name, plan, weight) values ($1, $2, $3) on conflict (name) do nothing

-- name: tenant
select name, plan, weight, created_at from tenant where name = $1

-- name: update_tenant
update tenant set plan = coalesce($2, plan), weight = coalesce($3, weight) where name = $1 returning name, plan, weight, created_at

-- name: tenants
-- The next page by name after the tenant of that id, 0 for the first page; tenants are never renamed.
select id, name, plan, weight, created_at from tenant
where $1::bigint = 0 or name > (select name from tenant where id = $1) order by name limit $2

-- name: plan
select name from plan where name = $1

-- name: put_plan
insert into plan (name, slots, open_trainings) values ($1, $2, $3)
on conflict (name) do update set slots = excluded.slots, open_trainings = excluded.open_trainings

-- name: plans
select name, slots, open_trainings from plan order by name
