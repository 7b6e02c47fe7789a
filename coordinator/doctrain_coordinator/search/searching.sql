-- name: extent
-- How much there is to search: what the filter allows, counted over so many documents at most, and all that the model's index holds.
select coalesce(sum(chunk_count), 0)::bigint as chunks,
    coalesce((select reltuples from pg_class where oid = to_regclass($7)), 0)::bigint as all_chunks
from (
    select chunk_count from indexed_document d
    where d.tenant = $1 and not d.deleted
        and ($2::bigint[] is null or d.training = any($2)) and ($3::text[] is null or d.document_id = any($3))
        and ($4::jsonb is null or d.metadata @> $4) and ($5::text[] is null or d.media_type = any($5))
    limit $6
) as allowed

-- name: trainings
select id, task_id from training where tenant = $1 and task_id = any($2::text[])

-- name: known_documents
select document_id from indexed_document where tenant = $1 and document_id = any($2::text[]) and not deleted

-- name: search
-- The chunks nearest to the query's vector and those that hold most of its words, fused by their places in both orders.
--
-- What is near comes from one of the two statements below. A word counts the more the fewer chunks hold it; one that is in more
-- chunks than are looked at says little, and counts only where there is none that is rarer. Chunks that hold equally much are in the
-- order of their vectors. A word that stands in a chunk's headings alone, which have a place and so no ``A``, counts half. A chunk's ctid names it within one statement. The score is that of reciprocal rank fusion, in which a place
-- by words counts by the share of the query's weight that the chunk holds: what holds its least word only is first by words, too,
-- where nothing holds more. A word that nothing holds weighs as the rarest. It is 1 for what is first in all $15 orders and holds all.
with near as materialized (
    {near}
), holding as materialized (
    select asked.place as word, found.id, found.in_text
    from unnest($8::text[]) with ordinality as asked (condition, place)
    cross join lateral (
        select c.ctid as id, c.words @@ (asked.condition || case when asked.condition like '%*' then 'A' else ':A' end)::tsquery as in_text
        from chunk c
        where c.words @@ asked.condition::tsquery and c.tenant = $1
            and ($9 or exists (
                select 1 from indexed_document d
                where d.tenant = c.tenant and d.document_id = c.document_id
                    and ($4::bigint[] is null or d.training = any($4)) and ($5::text[] is null or d.document_id = any($5))
                    and ($6::jsonb is null or d.metadata @> $6) and ($7::text[] is null or d.media_type = any($7))
            ))
        limit $10
    ) as found
), weighed as (
    select word, ln(1 + greatest($11::float8, count(*)) / count(*)) as weight, count(*) >= $10 as common from holding group by word
), weighty as materialized (
    select id, sum(case when in_text then weight else weight / 2 end) as weight
    from holding join weighed using (word)
    where not common or not exists (select 1 from weighed where not common)
    group by id order by weight desc, id limit $10
), said as (
    select weighty.id, weighty.weight,
        case when c.model = $2 then c.embedding::halfvec({dimensions}) <=> $3::text::halfvec({dimensions}) end as distance
    from weighty join chunk c on c.ctid = weighty.id
    order by weight desc, distance, id limit $12
), whole as (
    select coalesce(sum(weight), 0) + (cardinality($8::text[]) - count(*)) * ln(1 + greatest($11::float8, 1)) as weight from weighed
), placed as (
    select id, row_number() over (order by distance, id) as place, 1::float8 as share from near
    union all
    select id, row_number() over (order by said.weight desc, distance, id), said.weight / whole.weight from said cross join whole
), fused as (
    select id, sum(share * 11 / (10 + place)) / $15::int as score from placed group by id order by score desc, id limit $13
)
select c.document_id, c.seq, fused.score from fused join chunk c on c.ctid = fused.id order by fused.score desc, c.document_id, c.seq

-- name: passages
-- What the chunks that were found hold, in their order. A document's training may have been removed since.
select c.document_id, coalesce(g.task_id, '') as task_id, c.part, c.page, c.heading, c.text, c.start_offset, c.end_offset, found.score, d.metadata, d.media_type
from unnest($2::text[], $3::int[], $4::float8[]) with ordinality as found (document_id, seq, score, place)
join chunk c on c.tenant = $1 and c.document_id = found.document_id and c.seq = found.seq
join indexed_document d on d.tenant = c.tenant and d.document_id = c.document_id
left join training g on g.id = d.training
order by found.place

-- name: near_by_scan
-- All that the filter allows is looked at, document by document; the addition keeps the order from being the index's.
select c.ctid as id, c.embedding::halfvec({dimensions}) <=> $3::text::halfvec({dimensions}) as distance
    from indexed_document d join chunk c on c.tenant = d.tenant and c.document_id = d.document_id
    where d.tenant = $1 and not d.deleted and c.model = $2
        and ($4::bigint[] is null or d.training = any($4)) and ($5::text[] is null or d.document_id = any($5))
        and ($6::jsonb is null or d.metadata @> $6) and ($7::text[] is null or d.media_type = any($7))
    order by (c.embedding::halfvec({dimensions}) <=> $3::text::halfvec({dimensions})) + 0 limit $14

-- name: near_by_index
-- In the order of the model's index, until enough are allowed. The offset keeps the filter from being made a join, which would sort.
select c.ctid as id, c.embedding::halfvec({dimensions}) <=> $3::text::halfvec({dimensions}) as distance
    from chunk c
    where c.tenant = $1 and c.model = $2
        and ($9 or exists (
            select 1 from indexed_document d
            where d.tenant = c.tenant and d.document_id = c.document_id
                and ($4::bigint[] is null or d.training = any($4)) and ($5::text[] is null or d.document_id = any($5))
                and ($6::jsonb is null or d.metadata @> $6) and ($7::text[] is null or d.media_type = any($7))
            offset 0
        ))
    order by c.embedding::halfvec({dimensions}) <=> $3::text::halfvec({dimensions}) limit $14

-- name: index_size
-- A document without words has no vectors, so none of another model.
select count(*) as documents, coalesce(sum(chunk_count), 0)::bigint as chunks,
    count(*) filter (where model <> $2 and chunk_count > 0) as stale, max(indexed_at) as updated_at
from indexed_document where tenant = $1 and not deleted
