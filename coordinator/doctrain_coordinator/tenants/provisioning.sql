-- name: create_tenant
insert into tenant (name, plan, weight) values ($1, $2, $3) on conflict (name) do nothing

-- name: tenant
select id, name, plan, weight, created_at from tenant where name = $1

-- name: update_tenant
update tenant set plan = coalesce($2, plan), weight = coalesce($3, weight) where name = $1
returning id, name, plan, weight, created_at

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
