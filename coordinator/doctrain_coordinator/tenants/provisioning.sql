-- name: create_tenant
insert into tenant (name, plan, weight) values ($1, $2, $3) on conflict (name) do nothing returning id

-- name: tenant
select id, name, plan, weight, created_at, suspended_at, suspend_reason, deleting from tenant where name = $1

-- name: lock_tenant
select id, name, plan, weight, created_at, suspended_at, suspend_reason, deleting from tenant where name = $1 for no key update

-- name: update_tenant
update tenant set plan = coalesce($2, plan), weight = coalesce($3, weight) where id = $1
returning id, name, plan, weight, created_at, suspended_at, suspend_reason, deleting

-- name: suspend_tenant
update tenant set suspended_at = coalesce(suspended_at, now()), suspend_reason = $2 where id = $1
returning id, name, plan, weight, created_at, suspended_at, suspend_reason, deleting

-- name: resume_tenant
update tenant set suspended_at = null, suspend_reason = '' where id = $1
returning id, name, plan, weight, created_at, suspended_at, suspend_reason, deleting

-- name: delete_tenant
update tenant set suspended_at = coalesce(suspended_at, now()), deleting = true where id = $1
returning id, name, plan, weight, created_at, suspended_at, suspend_reason, deleting

-- name: revoke_keys
update api_key set revoked_at = now() where tenant = $1 and revoked_at is null

-- name: tenants
-- The next page by name after the tenant of that id, 0 for the first page; tenants are never renamed.
select id, name, plan, weight, created_at, suspended_at, suspend_reason, deleting from tenant
where $1::bigint = 0 or name > (select name from tenant where id = $1) order by name limit $2

-- name: is_there
select exists (select 1 from tenant where id = $1)

-- name: plan
select name, slots, burst_slots, open_trainings, training_documents, open_documents, requests_per_second, watches, upload_bytes
from plan where name = $1

-- name: put_plan
-- What was allowed above what is guaranteed stays allowed, as far as the new plan may burst.
insert into plan (name, slots, allowed, burst_slots, open_trainings, training_documents, open_documents, requests_per_second, watches, upload_bytes)
values ($1, $2, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (name) do update set slots = excluded.slots, burst_slots = excluded.burst_slots,
    allowed = least(excluded.burst_slots, excluded.slots + plan.allowed - plan.slots), open_trainings = excluded.open_trainings,
    training_documents = excluded.training_documents, open_documents = excluded.open_documents,
    requests_per_second = excluded.requests_per_second, watches = excluded.watches, upload_bytes = excluded.upload_bytes

-- name: plan_to_change
select name, slots, burst_slots, open_trainings, training_documents, open_documents, requests_per_second, watches, upload_bytes
from plan where name = $1 for no key update

-- name: lock_plan
select name from plan where name = $1 for update

-- name: tenant_of_plan
select name from tenant where plan = $1 limit 1

-- name: delete_plan
delete from plan where name = $1

-- name: plans
select name, slots, burst_slots, open_trainings, training_documents, open_documents, requests_per_second, watches, upload_bytes
from plan order by name
