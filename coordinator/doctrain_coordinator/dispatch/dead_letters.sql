-- name: shard
select number, state from shard where id = $1

-- name: keep
insert into dead_letter (cause, shard, number, explanation) values ($1, $2, $3, $4)

-- name: trim
delete from dead_letter where id <= (select max(id) from dead_letter) - $1

-- name: newest
select id, found_at, cause, shard, number, explanation from dead_letter order by id desc limit $1
