-- The tables of doctrain; views.sql has what stands upon them. docs/states.md draws the states; docs/architecture.md gives the rules that the
-- columns serve.
--
-- Locks are taken in one order everywhere: tenant, training, session, shard, document, each sorted by id.
-- Counts are counted, never kept: slots in use are the sum of width over the shards in flight.
-- Rows that change often (document, shard) leave room on their pages and no index holds a column that a report changes,
-- so that reports are heap-only updates.

create extension if not exists vector;

-- What made these tables (migrate.py); one row.
create table schema_version (version int not null, made_by text not null);

-- What one tenant may have (doctrain.v1.Plan). slots: documents at once, for sure; burst_slots: at most, and allowed: now, while the leader
-- finds that the machines bear it (core/concurrency.py); open_trainings and open_documents: those that have not ended;
-- training_documents: of one training; upload_bytes: that are kept. requests_per_second and watches hold at each coordinator. 0: no limit.
create table plan (
    name text primary key,
    slots int not null check (slots between 1 and 10000),
    burst_slots int not null check (burst_slots between slots and 10000),
    allowed int not null check (allowed between slots and burst_slots),
    open_trainings int not null check (open_trainings between 1 and 1000000),
    training_documents bigint not null default 0 check (training_documents >= 0),
    open_documents bigint not null default 0 check (open_documents >= 0),
    requests_per_second double precision not null default 0 check (requests_per_second >= 0),
    watches int not null default 0 check (watches >= 0),
    upload_bytes bigint not null default 0 check (upload_bytes >= 0)
);

insert into plan (name, slots, burst_slots, allowed, open_trainings) values ('free', 5, 5, 5, 1000), ('paid', 30, 30, 30, 10000);

-- A tenant that is suspended is not served; one that is being deleted is suspended, too, until nothing is left of it.
create table tenant (
    id bigint generated always as identity primary key,
    name text not null unique,
    plan text not null references plan (name),
    weight double precision not null default 1 check (weight between 0.001 and 1000),
    created_at timestamptz not null default now(),
    suspended_at timestamptz,
    suspend_reason text not null default '',
    deleting boolean not null default false,
    check (suspended_at is not null or not deleting)
);

create index tenant_of_plan on tenant (plan);
create index tenant_suspended on tenant (id) where suspended_at is not null;

-- What operators ordered of the documents at once, of a plan's tenants or of one tenant: exactly so many (pins), or at most. ordered_by: a key.
create table concurrency_order (
    id bigint generated always as identity primary key,
    plan text unique references plan (name) on delete cascade,
    tenant bigint unique references tenant (id) on delete cascade,
    pins boolean not null,
    slots int not null check (slots between 1 and 10000),
    reason text not null default '',
    ordered_by bigint not null,
    ordered_at timestamptz not null default now(),
    check (num_nonnulls(plan, tenant) = 1)
);

-- What the leader made of plans' allowed, and why; only the newest are kept.
create table concurrency_decision (
    id bigint generated always as identity primary key,
    decided_at timestamptz not null default now(),
    plan text not null,
    slots_before int not null,
    slots_after int not null,
    reason text not null
);

-- Role: 1 tenant, 2 worker, 3 operator (doctrain.v1.Role).
create table api_key (
    id bigint generated always as identity primary key,
    hash bytea not null unique,
    role smallint not null check (role between 1 and 3),
    tenant bigint references tenant (id),
    label text not null default '',
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    check ((role = 1) = (tenant is not null))
);

create index api_key_of_tenant on api_key (tenant, id);

-- What operators and tenants changed, each row written by the transaction that made the change, and what operators were refused to change
-- (outcome: why, else OK). Role and key are the caller's, tenant is the name of whom it concerns, so that it outlives the tenant.
create table audit_entry (
    id bigint generated always as identity primary key,
    happened_at timestamptz not null default now(),
    role smallint not null,
    key bigint not null,
    tenant text not null default '',
    call text not null,
    subject text not null,
    outcome text not null,
    sentence text not null,
    trace_id text not null
);

create index audit_entry_of_tenant on audit_entry (tenant, id);
create index audit_entry_happened on audit_entry (happened_at);

-- State: doctrain.v1.TrainingState (1 QUEUED, 2 PROCESSING, 3 COMPLETED, 4 COMPLETED_WITH_FAILURES, 5 FAILED, 6 CANCELLED).
-- A training is sealed when its total is final; what it is loaded from is a manifest, its uri_template, by which its documents differ by
-- number only, or those documents of load_source that failed in one of load_classes (empty: all that were not trained). load_offset is
-- where to go on: a byte of the manifest, or an ordinal of load_source.
-- It is paused by its tenant, suspended with its tenant; of one that is either, no shard may be granted.
-- How fast it goes is counted from pace_from on, when pace_done documents had ended: since it last began to move. moved_at is null
-- where that begins with its next change.
create table training (
    id bigint generated always as identity primary key,
    tenant bigint not null,
    task_id text not null,
    request_hash bytea not null,
    state smallint not null default 1,
    paused boolean not null default false,
    suspended boolean not null default false,
    sealed boolean not null,
    loaded int not null default 0,
    load_offset bigint not null default 0,
    load_lines int not null default 0,
    load_etag text,
    manifest_uri text,
    uri_template text,
    number_offset int not null default 0,
    load_count int,
    load_source bigint,
    load_classes smallint[] not null default '{}',
    load_progress_at timestamptz not null default now(),
    total int not null,
    completed int not null default 0,
    failed int not null default 0,
    unchanged int not null default 0,
    version bigint not null default 1,
    retry_of bigint,
    retrain boolean not null default false,
    reason text,
    traceparent text not null default '',
    created_at timestamptz not null default now(),
    started_at timestamptz,
    ended_at timestamptz,
    moved_at timestamptz,
    pace_from timestamptz,
    pace_done int not null default 0
) with (fillfactor = 50);

create unique index training_task on training (tenant, task_id);
create index training_of_tenant on training (tenant, id);
create index training_numbered on training (tenant) where uri_template is not null and load_count is not null;
create index training_unsealed on training (id) where not sealed;
create index training_open on training (tenant) where state in (1, 2);
create index training_suspended on training (tenant) where suspended and state in (1, 2);
create index training_ended on training (ended_at) where ended_at is not null;
create index training_loading_from on training (load_source) where load_source is not null and not sealed;
-- Whose numbered documents share an upload's bytes, as document_of_blob.
create index training_of_blob on training (tenant, substr(uri_template, 8, 64)) where uri_template like 'blob://%';

-- State: 0 PENDING, 1 DISPATCHED, 2 RUNNING, 3 STOPPING, 4 DONE, 5 CANCELLED.
-- number is the dispatch number and the attempt; version is the training's version of the shard's last change.
-- cool_downs: how often, one after the other, its holders handed it back for a while because its documents failed transiently.
-- not_before is for pending shards: '-infinity' where one may be granted, 'infinity' while its training is paused, else until when it
-- is delayed. The leader looks at those that may be granted only, however many others there are.
-- narrow_to: its holder is told to run no more than so many at once; it becomes the width when the holder says that it does. resize counts
-- the changes of a grant's width.
-- fences: how many holders, one after the other, fenced themselves while fenced_open documents were open.
-- yields: its holder is ordered to hand it back.
-- counted: its documents have ended and stand in usage.
-- under_way: those of running that have run for a while, as core.stages makes it; documents that are not in running have ended since.
create table shard (
    id bigint generated always as identity primary key,
    training bigint not null,
    tenant bigint not null,
    shard_number int not null,
    first int not null,
    count int not null,
    open int not null,
    state smallint not null default 0,
    number int not null default 0,
    holder bigint,
    width int not null default 0,
    narrow_to int,
    resize int not null default 0,
    yields boolean not null default false,
    not_before timestamptz not null default '-infinity',
    cool_downs int not null default 0,
    yield_reason text,
    running int[] not null default '{}',
    under_way text,
    losses int not null default 0,
    fences int not null default 0,
    fenced_open int not null default 0,
    suspects int[] not null default '{}',
    trial int,
    counted boolean not null default false,
    version bigint not null default 1
) with (fillfactor = 40);

create unique index shard_of_training on shard (training, shard_number);
create index shard_ready on shard (tenant, training, shard_number) where state = 0 and not_before = '-infinity';
create index shard_delayed on shard (not_before, id) where state = 0 and not_before > '-infinity';
create index shard_in_flight on shard (tenant) where state in (1, 2, 3);
create index shard_in_flight_of_training on shard (training) where state in (1, 2, 3);
create index shard_open_of_training on shard (training, first) where state < 4;
create index shard_held on shard (holder) where state in (2, 3);
create index shard_uncounted on shard (id) where state in (4, 5) and not counted;

-- State: 0 OPEN, 1 DONE, 2 FAILED. document_id and uri are null where the training has a uri_template.
-- stages: what it passed, as core.stages makes it; null where the processor tells none.
create table document (
    training bigint not null,
    ordinal int not null,
    state smallint not null default 0,
    error_class smallint not null default 0,
    attempt int not null default 0,
    tries int not null default 0,
    losses int not null default 0,
    took_ms int,
    started_at timestamptz,
    document_id text,
    uri text,
    media_type text,
    metadata text,
    error_code text,
    error text,
    stages text,
    unchanged boolean not null default false,
    primary key (training, ordinal)
) with (fillfactor = 45);

-- By its id first: of whoever has many trainings, those that had a document are found without looking into each.
create unique index document_by_id on document (document_id, training) where document_id is not null;
-- Which documents share an upload's bytes: the SHA-256 in blob://SHA256 or blob://SHA256/OFFSET/LENGTH.
create index document_of_blob on document (substr(uri, 8, 64)) where uri like 'blob://%';

-- Trainings whose rows are gone and whose documents and shards are being removed: nobody finds these without the training.
create table removed_training (
    id bigint primary key,
    documents int not null
);

-- The bytes that are kept for a tenant, by their SHA-256. A row is there before the bytes are. arriving: how many uploads of them are on
-- their way into the store. What a dead process left of that count stays, so it is believed for minutes after stored_at only.
create table upload (
    tenant bigint not null references tenant (id),
    sha256 text not null,
    bytes bigint not null,
    arriving int not null default 1,
    stored_at timestamptz not null default now(),
    primary key (tenant, sha256)
);

-- What a tenant used on a day of UTC (docs/adr/0024), and what each stage took of its documents, in milliseconds.
create table usage (
    tenant bigint not null references tenant (id) on delete cascade,
    day date not null,
    trained bigint not null,
    unchanged bigint not null,
    failed bigint not null,
    pages bigint not null,
    bytes bigint not null,
    primary key (tenant, day)
) with (fillfactor = 70);

create table stage_usage (
    tenant bigint not null references tenant (id) on delete cascade,
    day date not null,
    stage text not null,
    took_ms bigint not null,
    primary key (tenant, day, stage)
) with (fillfactor = 70);

-- One row a worker's boot or self-fence. State: 1 LIVE, 2 LOST (goodbyes included). beat and attached only count.
-- secret_hash: SHA-256 of what its worker shows to attach to it or to end it as its successor; empty: nobody can.
-- gone_at tells losses that belong together from others (docs/adr/0007), beaten_at shows people who is silent; no lease is
-- measured by either. unsubscribed: its worker is willing, and the broker delivers nothing to it. unfit: why its worker is not well (core/health.py), null where it is; one that is spared works all the same.
create table session (
    id bigint generated always as identity primary key,
    worker_id text not null,
    state smallint not null default 1,
    beat bigint not null default 0,
    attached int not null default 0,
    secret_hash bytea not null default '',
    lanes int not null,
    draining boolean not null default false,
    unsubscribed boolean not null default false,
    predecessor bigint,
    version text not null default '',
    unfit text,
    spared boolean not null default false,
    opened_at timestamptz not null default now(),
    beaten_at timestamptz not null default now(),
    gone_at timestamptz
) with (fillfactor = 50);

create index session_live on session (id) where state = 1;
create index session_gone on session (gone_at) where gone_at is not null;

-- What operators ordered of a worker, by its name: it holds over its boots, and whether or not it is in session. Who is under an order
-- takes no new shards; where there is a drain_until it hands back what it has, and what runs then is stopped. ordered_by: a key.
create table worker_order (
    worker_id text primary key,
    drain_until timestamptz,
    reason text not null default '',
    ordered_by bigint not null,
    ordered_at timestamptz not null default now()
);

-- What each coordinator leaves each second, to find it again: an earlier state of the database has it not, or an earlier one.
create table mark (
    process bigint primary key,
    looks bigint not null,
    marked_at timestamptz not null default now()
) with (fillfactor = 50);

-- Messages that the broker put aside, for operators; only the newest are kept.
create table dead_letter (
    id bigint generated always as identity primary key,
    found_at timestamptz not null default now(),
    cause text not null,
    shard bigint not null,
    number int not null,
    explanation text not null
);

-- What search reads (docs/adr/0014). A document is (tenant, document_id); of its trainings the newest one stands here. index_order is a
-- training's own key, and for a retry that of the first training of its documents: what it trains again is no newer than that. Of those
-- that have the same, the newest training stands here. A deleted document is not in the index: its row holds nothing but the place of
-- the delete in that order, so that an older training does not bring it back. recipe: how it was read and cut (pipeline/recipe.py).
create table indexed_document (
    tenant bigint not null,
    document_id text not null,
    training bigint not null,
    index_order bigint not null,
    ordinal int not null default 0,
    content_hash bytea not null default '',
    recipe bytea not null default '',
    media_type text not null default '',
    metadata jsonb not null default '{}',
    model text not null default '',
    chunk_count int not null default 0,
    deleted boolean not null default false,
    indexed_at timestamptz not null default now(),
    primary key (tenant, document_id)
);

create index indexed_document_of_training on indexed_document (tenant, training) where not deleted;
create index indexed_document_metadata on indexed_document using gin (metadata jsonb_path_ops) with (fastupdate = off);

-- Documents that a delete took out of the index and of which something may be left elsewhere: metadata in the record of trainings, bytes,
-- artifacts. It holds for all that older trainings have of them, also where a newer one has put them into the index since. place: the
-- delete's in the order of trainings; called_at: when it was called: bytes that were stored since are not its. training: where all of that
-- one is deleted, and its call has not come to the end with this document. due_at: from when whoever looks goes on with it.
create table deleted_document (
    tenant bigint not null,
    document_id text not null,
    place bigint not null,
    called_at timestamptz not null,
    training bigint,
    due_at timestamptz not null,
    primary key (tenant, document_id)
);

create index deleted_document_due on deleted_document (due_at);

-- Deletes that hold: what trainings before that place have of the document is not needed.
create view document_delete as
select tenant, document_id, index_order as place from indexed_document where deleted
union all
select tenant, document_id, place from deleted_document;

-- words: of heading and text (doctrain_mesh.words), each with its tenant before it, so that what the index holds of one word is one
-- tenant's. Vectors of different models have different lengths and never meet: each model has an index of its own, made by the
-- coordinators (search/vector_index.py).
create table chunk (
    tenant bigint not null,
    document_id text not null,
    seq int not null,
    training bigint not null,
    part text not null default '',
    page int,
    heading text not null default '',
    start_offset int not null,
    end_offset int not null,
    model text not null,
    embedding halfvec not null,
    words tsvector not null,
    text text not null,
    primary key (tenant, document_id, seq)
);

-- In its row, not beside it: a small tenant's vectors are all read.
alter table chunk alter column embedding set storage main;
-- What comes new is found by the next query, not read through by it.
create index chunk_words on chunk using gin (words) with (fastupdate = off);
