-- name: is_valid
-- Null when there is none; false when its making was cut off, or goes on.
select indisvalid from pg_index where indexrelid = to_regclass($1)

-- name: try_lock
select pg_try_advisory_lock(:AdvisoryLock.VECTOR_INDEX, hashtext($1))

-- name: drop
select format('drop index concurrently if exists %I', $1::text)

-- name: create
-- The statement that makes it. Cosine: vectors are of length 1.
select format(
    'create index concurrently %I on chunk using hnsw ((embedding::halfvec(%s)) halfvec_cosine_ops) where model = %L',
    $1::text, $2::int, $3::text
)
