-- name: deleting
select id, name from tenant where suspended_at is not null and deleting order by id

-- name: known
select id from tenant where id = any($1::bigint[])

-- name: settle
-- Waits for those who store something for the tenant now: all that come later see that it is being deleted.
select id from tenant where id = $1 for update

-- name: open_trainings
select id from training where tenant = $1 and state in (:TrainingState.OPEN) limit $2

-- name: in_flight
select exists (select 1 from shard where tenant = $1 and state in (:ShardState.IN_FLIGHT))

-- name: trainings
select id from training where tenant = $1 limit $2

-- name: remove_chunks
delete from chunk where ctid = any(array(select ctid from chunk where tenant = $1 limit $2))

-- name: remove_indexed
delete from indexed_document where ctid = any(array(select ctid from indexed_document where tenant = $1 limit $2))

-- name: remove_deleted
delete from deleted_document where ctid = any(array(select ctid from deleted_document where tenant = $1 limit $2))

-- name: arriving
-- Whether bytes may still be on their way into the store; what is not there after $2 seconds does not come.
select exists (
    select 1 from upload where tenant = $1 and arriving > 0 and stored_at > now() - $2::float8 * interval '1 second'
)

-- name: remove_uploads
delete from upload where tenant = $1

-- name: remove_keys
delete from api_key where tenant = $1

-- name: remove_tenant
-- Its usage goes with it.
delete from tenant where id = $1 and deleting
    and not exists (select 1 from training where tenant = $1)
    and not exists (select 1 from indexed_document where tenant = $1)
    and not exists (select 1 from chunk where tenant = $1)
returning id
