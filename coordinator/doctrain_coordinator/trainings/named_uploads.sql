-- name: keep
-- The tenant first, as whoever removes it locks it first.
with owner as materialized (select id from tenant where id = $1 for key share)
select 1 from owner join upload on upload.tenant = owner.id where upload.sha256 = any($2::text[]) order by upload.sha256 for key share of upload

-- name: keep_of_documents
-- Those that the documents of a training name that are stored so far.
with owner as materialized (select id from tenant where id = $1 for key share)
select 1 from owner join upload on upload.tenant = owner.id
where upload.sha256 in (select substr(uri, 8, 64) from document where training = $2 and uri like 'blob://%')
order by upload.sha256 for key share of upload
