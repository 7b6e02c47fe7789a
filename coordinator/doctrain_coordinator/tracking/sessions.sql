-- name: open_session
insert into session (worker_id, lanes, version, predecessor, secret_hash, attached) values ($1, $2, $3, $4, $5, 1)
returning id, attached, beat, exists (select 1 from worker_order where worker_order.worker_id = session.worker_id) as cordoned

-- name: attach_session
update session set attached = attached + 1, lanes = $3, gone_at = null, beaten_at = now()
where id = $1 and worker_id = $2 and secret_hash = $4 and state = :SessionState.LIVE
returning id, attached, beat, (unfit is not null and not spared)
    or exists (select 1 from worker_order where worker_order.worker_id = session.worker_id) as cordoned

-- name: predecessor
select beat, attached from session where id = $1 and worker_id = $2 and secret_hash = $3 and state = :SessionState.LIVE
