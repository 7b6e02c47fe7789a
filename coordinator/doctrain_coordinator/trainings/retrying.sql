-- name: retried
-- ``origin`` is the first training of its documents: what retries of retries name.
select coalesce(retry_of, id) as origin, loaded,
    case when state > :TrainingState.PROCESSING then total - completed else failed end as untrained, failed,
    uri_template, number_offset, retrain
from training where id = $1 and tenant = $2
