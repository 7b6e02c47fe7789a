-- Rules that several statements go by, each once. Postgres plans a statement as if they were written out in it, so it keeps its indexes.

-- Documents at once that each tenant of a plan may have now without an order of its own: the plan's pin, else what the leader allows, no more
-- than the plan's cap.
create view plan_limit as
select plan.name as plan, case when pins then concurrency_order.slots else least(plan.allowed, concurrency_order.slots) end as slots
from plan left join concurrency_order on concurrency_order.plan = plan.name;

-- What every grant is counted against: a tenant's own pin, else its plan's limit, no more than its own cap.
create view tenant_limit as
select tenant.id as tenant, case when own.pins then own.slots else least(own.slots, plan_limit.slots) end as slots
from tenant
join plan_limit on plan_limit.plan = tenant.plan
left join concurrency_order own on own.tenant = tenant.id;

-- Trainings that count against their plan, and how many documents of each: of one that is being loaded all, as far as they are known.
create view open_training as
select tenant,
    case when sealed or manifest_uri is not null then total else greatest(total, load_count) end - completed - failed as documents
from training where state in (1, 2);

-- What counts against a plan's bytes.
create view kept_of_tenant as
select tenant.id as tenant, (select coalesce(sum(bytes), 0) from upload where upload.tenant = tenant.id)::bigint as bytes from tenant;

-- Live sessions: whether their workers take new shards, and what keeps them from it, each by itself: the worker is going away (draining), the
-- broker delivers nothing to it (unsubscribed), it is under an order of operators (cordoned; drain_until: what it has is to be handed back by
-- then), or it is not well and not spared (unfit).
create view session_intake as
select session.id, session.worker_id, session.lanes, session.draining, session.unsubscribed,
    worker_order.worker_id is not null as cordoned, worker_order.drain_until,
    session.unfit is not null and not session.spared as unfit,
    not session.draining and not session.unsubscribed and worker_order.worker_id is null and (session.unfit is null or session.spared) as takes
from session left join worker_order on worker_order.worker_id = session.worker_id
where session.state = 1;

create view taking_session as select id, worker_id, lanes from session_intake where takes;

-- Lanes of the workers that take new shards, and of all that are in session.
create view fleet_lanes as
select coalesce(sum(lanes) filter (where takes), 0)::int as taking, coalesce(sum(lanes), 0)::int as in_session from session_intake;

-- Shards that may be granted. A delay that is over is ended by the leader first.
create view ready_shard as
select * from shard where state = 0 and not_before = '-infinity';

-- Tenants that have such shards, found in one step of the index each, however many shards there are.
create view ready_tenant as
with recursive one as (
    (select tenant from ready_shard order by tenant limit 1)
    union all
    select following.tenant from one, lateral (
        select tenant from ready_shard where ready_shard.tenant > one.tenant order by tenant limit 1
    ) following
)
select tenant from one;

-- Whether a shard has a lane at its holder: it runs and has documents to start. One that has none left gave its lane back.
create function has_lane(shard) returns boolean language sql immutable parallel safe
return $1.state = 2 and cardinality($1.running) < $1.open;

-- Shards that have a lane of a worker that takes new shards, or wait for one in the queue.
create view laned_shard as
select * from shard where state = 1 or has_lane(shard) and holder in (select id from taking_session);

-- The last ordinal of a shard's documents up to which all have ended; null where its first one is open.
create view ended_prefix as
select id as shard, case when open < count then (
    select nullif(coalesce(min(ordinal), first + count), first) - 1 from document
    where document.training = shard.training and ordinal between first and first + count - 1 and document.state = 0
) end as last
from shard;
