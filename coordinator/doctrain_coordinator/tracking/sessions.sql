-- name: open_session
-- A new session's worker is well, as far as is known.
insert into session (worker_id, lanes, version, predecessor, secret_hash, attached) values ($1, $2, $3, $4, $5, 1)
returning id, attached, beat, exists (select 1 from worker_order where worker_order.worker_id = session.worker_id) as cordoned

-- name: attach_session
update session set attached = attached + 1, lanes = $3, gone_at = null, beaten_at = now()
from session_intake
where session.id = $1 and session.worker_id = $2 and session.secret_hash = $4 and session.state = :SessionState.LIVE
    and session_intake.id = session.id
returning session.id, session.attached, session.beat, session_intake.cordoned or session_intake.unfit as cordoned

-- name: predecessor
select beat, attached from session where id = $1 and worker_id = $2 and secret_hash = $3 and state = :SessionState.LIVE
