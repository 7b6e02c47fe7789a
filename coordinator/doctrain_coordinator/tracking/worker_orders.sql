-- name: known
-- A session is kept for a day after its end.
select exists (select 1 from session where worker_id = $1) or exists (select 1 from worker_order where worker_id = $1)

-- name: put
-- A reason stands until another is given. $2: in how many seconds what runs is stopped; null where the worker keeps what it has.
insert into worker_order (worker_id, drain_until, reason, ordered_by)
values ($1, now() + $2::float8 * interval '1 second', $3, $4)
on conflict (worker_id) do update
set drain_until = excluded.drain_until, reason = coalesce(nullif(excluded.reason, ''), worker_order.reason), ordered_by = excluded.ordered_by, ordered_at = excluded.ordered_at

-- name: remove
delete from worker_order where worker_id = $1

-- name: list
select worker_id, drain_until is not null as drains, reason, ordered_by, ordered_at from worker_order order by worker_id
