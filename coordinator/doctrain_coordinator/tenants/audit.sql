-- name: write
insert into audit_entry (role, key, tenant, call, subject, outcome, sentence, trace_id) values ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: page
select id, happened_at, role, key, tenant, call, subject, outcome, sentence, trace_id from audit_entry
where id < $1 and ($2 = '' or tenant = $2) order by id desc limit $3

-- name: forget
-- The oldest of those that are old, $2 at most.
delete from audit_entry where id in (
    select id from audit_entry where happened_at < now() - $1::float8 * interval '1 day' order by happened_at limit $2
)
