-- name: look
-- What is flushed survives a crash of Postgres, so a crash alone never goes back. The timeline is that of the next write: the one in the
-- last checkpoint lags behind a promotion. A replica, which writes nothing, has no position.
select (select system_identifier from pg_control_system()) as system,
    (select oid from pg_database where datname = current_database())::bigint as database,
    to_regclass('session')::oid::bigint as schema,
    substr(pg_walfile_name(flushed), 1, 8) as timeline,
    (flushed - '0/0')::bigint as position,
    coalesce((select looks from mark where process = $1), 0) as mark
from (select case when not pg_is_in_recovery() then pg_current_wal_flush_lsn() end as flushed) log

-- name: mark
with old as (delete from mark where marked_at < now() - interval '7 days' and process <> $1)
insert into mark (process, looks) values ($1, 1)
on conflict (process) do update set looks = mark.looks + 1, marked_at = now()
