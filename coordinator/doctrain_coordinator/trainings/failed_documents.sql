-- name: loaded
select loaded from training where id = $1

-- name: failed_documents
-- Ordinals of those from $2 up to $3 that failed and, unless classes are asked for, were open when the training ended early; $5 at most,
-- that have $6 bytes of metadata at most. Documents that a later training, or an earlier retry, has indexed since, or that were deleted
-- since, are left out. Whatever the statistics say, a document is looked up by its
-- key, there and here: limits within, and ``offset 0``, keep the planner from joining whole tables.
select ordinal from (
    select d.ordinal, sum(coalesce(pg_column_size(d.metadata), 0)) over (order by d.ordinal) as bytes
    from document d join training g on g.id = d.training
    where d.training = $1 and d.ordinal >= $2 and d.ordinal < $3
        and case
            when d.state = :DocumentState.FAILED then cardinality($4::smallint[]) = 0 or d.error_class = any($4)
            else d.state = :DocumentState.OPEN and g.state > :TrainingState.PROCESSING and cardinality($4) = 0
        end
        and not exists (
            select 1 from indexed_document i
            where i.tenant = g.tenant and i.document_id = coalesce(d.document_id, (d.ordinal + g.number_offset)::text)
                and (i.index_order, i.training) > (coalesce(g.retry_of, g.id), g.id)
            offset 0
        )
    order by d.ordinal limit $5
) as failed
where bytes <= $6 order by ordinal

-- name: failed_by_id
-- Likewise, of those that have one of the ids, or, where documents differ by number only, one of the ordinals.
with wanted as (
    select named.ordinal from unnest($2::text[]) as name
    cross join lateral (select ordinal from document where training = $1 and document_id = name limit 1) named
    union all select unnest($3::int[])
)
select d.ordinal
from wanted
join training g on g.id = $1
cross join lateral (
    select ordinal, document_id from document
    where training = $1 and ordinal = wanted.ordinal
        and case
            when state = :DocumentState.FAILED then cardinality($4::smallint[]) = 0 or error_class = any($4)
            else state = :DocumentState.OPEN and g.state > :TrainingState.PROCESSING and cardinality($4) = 0
        end
    limit 1
) d
where not exists (
    select 1 from indexed_document i
    where i.tenant = g.tenant and i.document_id = coalesce(d.document_id, (d.ordinal + g.number_offset)::text)
        and (i.index_order, i.training) > (coalesce(g.retry_of, g.id), g.id)
    offset 0
)
order by d.ordinal

-- name: unknown_ids
-- Those of some ids that no document of the training has.
select name from unnest($2::text[]) with ordinality as named (name, place)
where not exists (select 1 from document where training = $1 and document_id = name) order by place

-- name: any_failed
-- Whether a document failed in one of some ways, whatever came of it since.
select exists (select 1 from document where training = $1 and state = :DocumentState.FAILED and error_class = any($2::smallint[]))
