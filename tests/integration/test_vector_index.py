"""Each model's vectors have an index, made once, whatever became of an earlier attempt."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from doctrain.errors import UnavailableError
from doctrain_coordinator.search.vector_index import index_name
from doctrain_mesh.embedding import minilm
from testkit import stages
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


async def test_a_model_that_loads_slowly_holds_up_no_start_and_no_other_call(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = threading.Event()

    class Slow(stages.Digests):
        def __init__(self) -> None:
            loads.wait(30)

    monkeypatch.setattr(stages, "Digests", Slow)
    async with coordinators(postgres, tmp_path, embedding="testkit.stages:Digests") as served:
        acme = await served.tenant("acme")
        assert [training async for training in acme.list_trainings()] == []
        loads.set()
        assert (await acme.get_index()).model == "digests"


async def test_without_its_model_a_coordinator_serves_all_but_searches(postgres: str, tmp_path: Path) -> None:
    async with coordinators(postgres, tmp_path, embedding=f"onnx:{tmp_path}/nowhere") as served:
        acme = await served.tenant("acme")
        with pytest.raises(UnavailableError, match="The model that queries are embedded with cannot be loaded; its operators") as caught:
            await acme.search("words")
        assert "nowhere" not in str(caught.value)
        assert [training async for training in acme.list_trainings()] == []
