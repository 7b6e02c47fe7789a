"""A test's database is emptied for the next, which costs a third of making another: unless its schema or settings were changed.

An index that a coordinator makes of its model's vectors is dropped.
"""

from __future__ import annotations

import asyncpg

NOTE_CHANGES = """
create schema kept;

do $$
declare
    known record;
    filled boolean;
begin
    for known in select tablename from pg_tables where schemaname = 'public' loop
        execute format('select exists (select from public.%I)', known.tablename) into filled;
        if filled then
            execute format('create table kept.%I as table public.%I', known.tablename, known.tablename);
        end if;
    end loop;
end $$;

create table kept.change (tag text, made text);

create function kept.note() returns event_trigger language plpgsql security definer as $$
begin
    insert into kept.change select tg_tag, object_identity from (values (1)) always left join pg_event_trigger_ddl_commands() on true;
end $$;

create event trigger kept on ddl_command_end execute function kept.note();
"""
"""Run in what is copied: keeps the rows that a new database has, and notes once anything of the schema is another."""

_IS_CHANGED = """
select exists (select from kept.change where tag <> 'CREATE INDEX')
    or exists (select from pg_db_role_setting join pg_database on pg_database.oid = setdatabase and datname = current_database())
"""

_EMPTY = """
set event_triggers = off;
do $$
declare
    known record;
    used text;
begin
    for known in select made from kept.change loop
        execute format('drop index if exists %s', known.made);
    end loop;
    delete from kept.change;
    -- Not by delete: rows that are dead have a place in plans, and in the order of answers that have none.
    select string_agg(format('public.%I', relname), ', ') into used
        from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' and pg_relation_size(oid) > 0;
    execute 'truncate ' || used || ' cascade';
    for known in select tablename from pg_tables where schemaname = 'kept' and tablename <> 'change' loop
        execute format('insert into public.%I select * from kept.%I', known.tablename, known.tablename);
    end loop;
    perform setval(seqrelid, seqstart, false) from pg_sequence;
    perform pg_clear_relation_stats('public', relname) from pg_class
        where relnamespace = 'public'::regnamespace and relkind in ('r', 'i') and reltuples >= 0;
    perform pg_clear_attribute_stats('public', tablename, attname, inherited) from pg_stats where schemaname = 'public';
end $$
"""

_DISCONNECT_OTHERS = """
select pg_terminate_backend(pid, 10000) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""


async def emptied(url: str) -> bool:
    """Makes it as a new one is, with whoever is connected cut off; answers False where it is another by more than its rows."""
    connection = await asyncpg.connect(url, timeout=10, command_timeout=30)
    try:
        await connection.execute(_DISCONNECT_OTHERS)
        if await connection.fetchval(_IS_CHANGED):
            return False
        await connection.execute(_EMPTY)
        return True
    finally:
        await connection.close(timeout=5)
