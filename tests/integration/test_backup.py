"""The commands of docs/howto/back-up-and-restore.md: a dump that is restored into an empty database serves what it had."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from doctrain.v1 import training_pb2
from testkit.coordinator import coordinators
from testkit.indexing import indexing, train
from testkit.postgres import programs


async def run(program: str, *arguments: str) -> None:
    await asyncio.to_thread(subprocess.run, [str(programs() / program), *arguments], check=True)


async def test_a_dump_that_is_restored_into_an_empty_database_serves_what_it_had(
    postgres: str, empty_postgres: str, tmp_path: Path
) -> None:
    async with coordinators(postgres, tmp_path) as before, indexing(before):
        acme = await before.tenant("acme")
        key = await before.key(1, "acme")
        trained = await train(acme, {"mites.txt": "Mites are treated in autumn.", "water.txt": "Bees need water in summer."})
        await run("pg_dump", "--format=custom", f"--file={tmp_path / 'doctrain.dump'}", postgres)
        await train(acme, {"later.txt": "Trained after the backup."})

    await run("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={empty_postgres}", str(tmp_path / "doctrain.dump"))

    async with coordinators(empty_postgres, tmp_path) as after, indexing(after):
        acme = await after.client(key)
        assert [one.training_task_id async for one in acme.list_trainings()] == [trained.training_task_id]
        assert {hit.document_id for hit in await acme.search("treated in autumn")} == {"mites.txt", "water.txt"}
        again = await train(acme, {"mites.txt": "Mites are treated in autumn.", "new.txt": "Trained after the restore."})
        assert (again.state, again.completed) == (training_pb2.TRAINING_STATE_COMPLETED, 2)
