-- name: lock
lock table session in share row exclusive mode

-- name: raise
select setval(sequence, greatest(nextval(sequence), extract(epoch from clock_timestamp())::bigint))
from (select pg_get_serial_sequence('session', 'id')::regclass as sequence) as numbers
