-- name: act_as
-- Until the transaction ends.
select set_config('role', 'doctrain_tenant', true), set_config('doctrain.tenant', $1::bigint::text, true)

-- name: is_ready
-- Whether this user may act as the role that the policies are for, and that role may read.
select coalesce(pg_has_role(to_regrole('doctrain_tenant'), 'member') and has_table_privilege(to_regrole('doctrain_tenant'), 'training', 'select'), false)
