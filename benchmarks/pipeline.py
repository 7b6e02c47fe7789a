"""Documents a second through the whole embedded mesh, against the same pipeline in a plain loop of two processes.

    python -m benchmarks.pipeline [--repeats N] [--rounds N] [FOLDER]

Both train the shipped corpus ``repeats`` times over, under new ids, into the same database, in turns; the loop has no fetching
rules, sandbox, limits, dispatch, reports or second process for the model, only the stages' own functions (``benchmarks.plain_loop``).
The mesh has one worker with two children of each kind. Beside the documents a second, it prints the seconds of CPU a document of
everything that ran, Postgres included: these are steadier on a machine that is busy.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psutil

import doctrain
from doctrain.v1 import training_pb2 as pb
from doctrain_mesh import postgres, settings
from doctrain_mesh.observability import logs
from doctrain_server.dev.embedded import Embedded, embedded_mesh
from doctrain_worker.sandbox.main import isolation

PROCESSES = 2
CORPUS = Path(__file__).parent.parent / "corpus"
STRANGER = 1 << 40
"""A tenant, training and session that the mesh has not: what the loop writes its rows as."""
RUNNING = (
    "insert into shard (training, tenant, shard_number, first, count, open, state, number, holder) "
    "values ($1, $1, $2, 0, 1000000, 1000000, 2, 1, $1) returning id"
)


@dataclass(frozen=True, slots=True)
class Round:
    """What one way took for all documents."""

    documents: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Documents a second."""
        return self.documents / self.seconds

    @property
    def cpu_a_document(self) -> float:
        """In milliseconds."""
        return 1000 * self.cpu_seconds / self.documents


def cpu_seconds() -> float:
    """Of this process and all below it, those that ended included: the mesh, its children, and Postgres."""
    own = psutil.Process()
    spent = 0.0
    for process in (own, *own.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent += times.user + times.system + times.children_user + times.children_system
    return spent


async def through_the_mesh(client: doctrain.AsyncClient, files: list[Path], label: str) -> Round:
    """One training of all files, from its start to the end that a client sees."""
    documents = [pb.DocumentInput(document_id=f"{label}/{n}", uri=file.as_uri()) for n, file in enumerate(files)]
    cpu, began = cpu_seconds(), time.perf_counter()
    training = (await client.start_training(documents)).training
    training = await client.wait(training.training_task_id)
    took = time.perf_counter() - began
    if training.completed != len(files):
        raise SystemExit(f"{training.completed} of {len(files)} documents were trained: {training.message}")
    return Round(len(files), took, cpu_seconds() - cpu)


async def through_the_loop(mesh: Embedded, files: list[Path], number: int) -> Round:
    """Each process does the next file when it has done one."""
    loops = [await _loop(mesh, PROCESSES * number + process) for process in range(PROCESSES)]
    for loop in loops:
        await loop.said()
    cpu, began, left = cpu_seconds(), time.perf_counter(), iter(files)
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(loop.train(left))
    took = Round(len(files), time.perf_counter() - began, cpu_seconds() - cpu)
    for loop in loops:
        await loop.end()
    return took


@dataclass(frozen=True, slots=True)
class _Loop:
    process: Process
    into: StreamWriter
    out: StreamReader

    async def said(self) -> None:
        if not await self.out.readline():
            raise SystemExit("A process of the plain loop ended.")

    async def train(self, left: Iterator[Path]) -> None:
        for file in left:
            self.into.write(f"{file}\n".encode())
            await self.said()

    async def end(self) -> None:
        self.into.close()
        await self.process.wait()


async def _loop(mesh: Embedded, number: int) -> _Loop:
    shard = await _running_shard(mesh, number)
    argv = [sys.executable, "-m", "benchmarks.plain_loop", mesh.database_url, str(STRANGER + number), str(STRANGER), str(shard)]
    process = await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=PIPE, env=isolation.environment())
    assert process.stdin is not None
    assert process.stdout is not None
    return _Loop(process, process.stdin, process.stdout)


async def _running_shard(mesh: Embedded, number: int) -> int:
    connection = await postgres.connect(mesh.database_url)
    try:
        async with postgres.available("making a shard", connection):
            return cast("int", await connection.fetchval(RUNNING, STRANGER, number))
    finally:
        await postgres.close_connection(connection)


def _tell(way: str, rounds: list[Round]) -> float:
    rate = statistics.median(one.rate for one in rounds)
    cpu = statistics.median(one.cpu_a_document for one in rounds)
    each = ", ".join(f"{one.rate:.1f}" for one in rounds)
    print(f"{way:<22} {rate:6.1f} documents/s (rounds: {each}); {cpu:.1f} ms of CPU a document", flush=True)
    return rate


async def main(corpus: list[Path], repeats: int, rounds: int) -> None:
    """Prints both and how they compare."""
    logs.configure("ERROR", "text")
    files = corpus * repeats
    async with AsyncExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="doctrain-bench-")))
        chosen = settings.load({}, listen="127.0.0.1:0", children=PROCESSES, file_root=str(corpus[0].parent), trace_documents=0.0)
        mesh = await stack.enter_async_context(embedded_mesh(data, chosen, workers=1))
        client = await stack.enter_async_context(doctrain.AsyncClient(mesh.address, api_key=mesh.tenant_key))
        await through_the_mesh(client, corpus * PROCESSES, "warm")
        meshed, looped = [], []
        for number in range(rounds):
            looped.append(await through_the_loop(mesh, files, number))
            meshed.append(await through_the_mesh(client, files, f"round-{number}"))
        print(f"{len(files)} documents a round, {corpus[0].parent.name} {repeats} times over, {PROCESSES} processes")
        loop, whole = _tell("plain loop", looped), _tell("whole embedded mesh", meshed)
        print(f"the mesh reaches {100 * whole / loop:.0f} % of the loop")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=CORPUS)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    found = sorted(file for file in chosen.folder.resolve().iterdir() if file.is_file())
    asyncio.run(main(found, chosen.repeats, chosen.rounds))
