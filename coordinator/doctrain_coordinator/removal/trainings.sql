-- name: old
-- Trainings that ended long ago and are in use no more: every document is counted, nothing of them runs, and no retry is loaded from them.
select id from training g
where ended_at < now() - $1::float8 * interval '1 day' and state not in (:TrainingState.OPEN)
    and not exists (select 1 from shard where training = g.id and (state in (:ShardState.IN_FLIGHT) or not counted))
    and not exists (select 1 from training retry where retry.load_source = g.id and not retry.sealed)
order by ended_at limit $2

-- name: lock
select id from training where id = $1 for update

-- name: remove
with gone as (
    delete from training
    where id = $1 and state not in (:TrainingState.OPEN)
        and not exists (select 1 from shard where training = $1 and state in (:ShardState.IN_FLIGHT))
        and not exists (select 1 from training retry where retry.load_source = $1 and not retry.sealed)
    returning id, greatest(loaded, total) as documents
)
insert into removed_training (id, documents) select id, documents from gone returning id

-- name: half_removed
select id, documents from removed_training order by id limit $1

-- name: remove_documents
delete from document where training = $1 and ordinal between $2 and $3

-- name: remove_shards
delete from shard where training = $1

-- name: finish
delete from removed_training where id = $1
