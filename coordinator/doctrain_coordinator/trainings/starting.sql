-- name: tenant_limit
select plan.name as plan, plan.slots from tenant join plan on plan.name = tenant.plan where tenant.id = $1
