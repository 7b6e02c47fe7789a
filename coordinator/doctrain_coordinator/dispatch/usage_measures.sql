-- name: days
-- Of today and the day before in UTC: the $1 tenants with the most documents, and all others as one without a name. Each tenant is looked
-- up, since its days are in the index by tenant, however many of them there are.
with recent as materialized (
    select tenant.id, tenant.name, used.*
    from tenant cross join lateral (
        select day, trained, unchanged, failed, pages, bytes from usage
        where usage.tenant = tenant.id and day >= (now() at time zone 'utc')::date - 1 order by day desc limit 2
    ) used
), named as (
    select id from recent group by id order by sum(trained + unchanged + failed) desc, id limit $1
)
select named.id, min(recent.name) filter (where named.id is not null) as name, day = (now() at time zone 'utc')::date as today,
    sum(trained)::float8 as trained, sum(unchanged)::float8 as unchanged, sum(failed)::float8 as failed, sum(pages)::float8 as pages,
    sum(bytes)::float8 as bytes
from recent left join named using (id) group by named.id, day

-- name: stages
-- Of the same days, in seconds: tenants of $1 by name, and stages of $2.
select case when tenant.id = any($1::bigint[]) then tenant.name end as name, day = (now() at time zone 'utc')::date as today,
    case when stage = any($2::text[]) then stage else 'other' end as stage, sum(took_ms)::float8 / 1000 as seconds
from tenant cross join lateral (
    select day, stage, took_ms from stage_usage
    where stage_usage.tenant = tenant.id and day >= (now() at time zone 'utc')::date - 1 offset 0
) used
group by 1, 2, 3
