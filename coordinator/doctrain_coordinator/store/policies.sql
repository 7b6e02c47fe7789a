-- What tenants name or list is looked up as doctrain_tenant, which sees the rows of one tenant: the one whose number the transaction has set
-- (store/tenant_rows.py, docs/adr/0034 says what). Everything else works as the owner of the tables, for whom no policy holds.
-- What is not granted here, that role cannot read; it can write nothing.

-- Roles are the server's, not the database's: another database may have made it.
do $$ begin
    if to_regrole('doctrain_tenant') is null then
        create role doctrain_tenant nologin;
    end if;
exception when duplicate_object or unique_violation then null; -- by somebody else at the same moment
end $$;

do $$ begin
    if not pg_has_role(current_user, 'doctrain_tenant', 'member') then
        grant doctrain_tenant to current_user;
    end if;
end $$;

create function reading_tenant() returns bigint language sql stable parallel safe
return nullif(current_setting('doctrain.tenant', true), '')::bigint;

-- ``select`` makes the planner ask once for a statement, not for each row.
create policy of_tenant on training for select to doctrain_tenant using (tenant = (select reading_tenant()));
create policy of_tenant on shard for select to doctrain_tenant using (tenant = (select reading_tenant()));
create policy of_tenant on document for select to doctrain_tenant using (exists (select from training where training.id = document.training));
create policy of_tenant on indexed_document for select to doctrain_tenant using (tenant = (select reading_tenant()));
create policy of_tenant on chunk for select to doctrain_tenant using (tenant = (select reading_tenant()));
create policy of_tenant on usage for select to doctrain_tenant using (tenant = (select reading_tenant()));
create policy of_tenant on stage_usage for select to doctrain_tenant using (tenant = (select reading_tenant()));

alter table training enable row level security;
alter table shard enable row level security;
alter table document enable row level security;
alter table indexed_document enable row level security;
alter table chunk enable row level security;
alter table usage enable row level security;
alter table stage_usage enable row level security;

grant select on training, shard, document, indexed_document, chunk, usage, stage_usage to doctrain_tenant;
