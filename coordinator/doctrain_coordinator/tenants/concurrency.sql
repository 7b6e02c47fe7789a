-- name: plans
-- Each with its order; ``current``: what its tenants have without an order of their own.
select plan.name, plan.slots, plan.burst_slots, plan.allowed, plan_limit.slots as current,
    pins, concurrency_order.slots as ordered, reason, ordered_by, ordered_at
from plan join plan_limit on plan_limit.plan = plan.name
left join concurrency_order on concurrency_order.plan = plan.name order by plan.name

-- name: tenant_orders
select tenant.name, pins, slots as ordered, reason, ordered_by, ordered_at
from concurrency_order join tenant on tenant.id = concurrency_order.tenant order by tenant.name limit 1000

-- name: decisions
select decided_at, plan, slots_before, slots_after, reason from concurrency_decision order by id desc limit $1

-- name: plan
select name from plan where name = $1 for key share

-- name: tenant
-- Locked as by a grant, so that each grant comes before the order or counts against it.
select id from tenant where name = $1 for no key update

-- name: order_plan
insert into concurrency_order (plan, pins, slots, reason, ordered_by) values ($1, $2, $3, $4, $5)
on conflict (plan) do update set pins = excluded.pins, slots = excluded.slots, reason = excluded.reason,
    ordered_by = excluded.ordered_by, ordered_at = excluded.ordered_at

-- name: order_tenant
insert into concurrency_order (tenant, pins, slots, reason, ordered_by) values ($1, $2, $3, $4, $5)
on conflict (tenant) do update set pins = excluded.pins, slots = excluded.slots, reason = excluded.reason,
    ordered_by = excluded.ordered_by, ordered_at = excluded.ordered_at

-- name: clear_plan
delete from concurrency_order where plan = $1

-- name: clear_tenant
delete from concurrency_order where tenant = $1
