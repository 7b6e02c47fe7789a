"""Each model's vectors have an index, made once, whatever became of an earlier attempt."""

from __future__ import annotations

from pathlib import Path

from doctrain_coordinator.search.vector_index import index_name
from doctrain_mesh.embedding import minilm
from testkit.coordinator import Coordinators, coordinators
from testkit.waiting import wait_until

INDEX = index_name(minilm.NAME)


async def made(served: Coordinators) -> str:
    """The index's definition, once it can be used."""
    database = await served.database()
    valid = "select indexdef from pg_indexes join pg_index on indexrelid = to_regclass(indexname) where indexname = $1 and indisvalid"
    definition: str = await wait_until(lambda: database.fetchval(valid, INDEX), 30)
    return definition


async def test_coordinators_that_start_together_make_one_index_of_their_models_vectors(postgres: str, tmp_path: Path) -> None:
    async with coordinators(postgres, tmp_path, count=3) as served:
        definition = await made(served)
        assert "hnsw" in definition
        assert "halfvec(384)" in definition
        assert minilm.NAME in definition
        database = await served.database()
        assert await database.fetchval("select count(*) from pg_indexes where indexname like 'chunk_near_%'") == 1


async def test_an_index_whose_making_was_cut_off_is_made_again(postgres: str, tmp_path: Path) -> None:
    async with coordinators(postgres, tmp_path) as served:
        await made(served)
        database = await served.database()
        before = await database.fetchval("select to_regclass($1)::oid", INDEX)
        await database.execute("update pg_index set indisvalid = false where indexrelid = $1", before)
    async with coordinators(postgres, tmp_path) as served:
        await made(served)
        database = await served.database()
        assert await database.fetchval("select to_regclass($1)::oid", INDEX) != before
