"""The mesh as processes: coordinators and workers started, killed and watched from outside, as an operator would."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from doctrain_mesh.settings import Settings
from doctrain_server.bootstrap import first_keys

READY_SECONDS = 90.0
_ENDS_WITH_US = ("setpriv", "--pdeathsig=KILL")
"""The kernel kills a part when whoever started it ends, also by SIGKILL; what is below a part ends with it by itself."""


@dataclass
class Part:
    """One started process of the mesh; ``ready`` is the line that it printed."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    ready: str = ""

    @property
    def address(self) -> str:
        """Where a coordinator serves."""
        return self.ready.removeprefix("serving on ").strip()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal to the process alone (not to its children)."""
        self.process.send_signal(number)

    async def stop(self, seconds: float = 40.0) -> int:
        """Asks it to drain and waits; kills its whole group when it does not."""
        if self.process.returncode is None:
            self.process.terminate()
            try:
                async with asyncio.timeout(seconds):
                    await self.process.wait()
            except TimeoutError:
                self.destroy()
        return await self.process.wait()

    def destroy(self) -> None:
        """Kills it and all below it."""
        try:
            top = psutil.Process(self.process.pid)
            below = top.children(recursive=True)
        except psutil.NoSuchProcess:
            return
        for process in (top, *below):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


@dataclass
class Mesh:
    """What runs, over which servers, and the keys that were made."""

    folder: Path
    environment: Mapping[str, str]
    operator_key: str = ""
    worker_key: str = ""
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def addresses(self) -> list[str]:
        """Of the coordinators, in the order in which they were started."""
        return [part.address for part in self.parts.values() if part.address.startswith("127.") and part.process.returncode is None]

    async def bootstrap(self) -> None:
        """Makes the first keys, as ``doctrain-server bootstrap`` does: on a database of this schema, also where it was empty."""
        keys = await first_keys(Settings(database_url=self.environment["DOCTRAIN_DATABASE_URL"]))
        self.operator_key, self.worker_key = str(keys["operator_key"]), str(keys["worker_key"])

    async def coordinator(self, name: str, **settings: str) -> Part:
        """Starts a coordinator on a free port."""
        return await _ready(await self._start("coordinator", name, {"DOCTRAIN_LISTEN": "127.0.0.1:0", **settings}))

    async def worker(self, name: str, **settings: str) -> Part:
        """Starts a worker: its guardian, and what that starts."""
        return await _ready(await self.lonely_worker(name, **settings))

    async def lonely_worker(self, name: str, **settings: str) -> Part:
        """Starts a worker that may find no coordinator, and does not wait for it."""
        log = self.folder / f"{name}.executions.jsonl"
        return await self._start("worker", name, {"DOCTRAIN_WORKER_KEY": self.worker_key, "DOCTRAIN_EXECUTION_LOG": str(log), **settings})

    def executions(self) -> list[dict[str, Any]]:
        """What the workers' own logs say was started and ended, in the order of their monotonic clock; a line may still be written."""
        lines = [line for file in self.folder.glob("*.executions.jsonl") for line in file.read_text().split("\n")[:-1]]
        return sorted((json.loads(line) for line in lines), key=lambda event: event["monotonic"])

    async def _start(self, command: str, name: str, settings: Mapping[str, str]) -> Part:
        log = self.folder / f"{name}.log"
        with log.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(*_ENDS_WITH_US, sys.executable, "-m", "doctrain_server", command),
                env={**os.environ, **self.environment, "DOCTRAIN_NAME": name, **settings},
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        part = self.parts[name] = Part(name, process, log)
        return part


async def _ready(part: Part) -> Part:
    """The part when it has printed its line."""
    assert part.process.stdout is not None
    try:
        async with asyncio.timeout(READY_SECONDS):
            part.ready = (await part.process.stdout.readline()).decode()
    except TimeoutError:
        part.destroy()
    if not part.ready:
        raise AssertionError(f"{part.name} did not start:\n{part.log.read_text()}")
    return part


@asynccontextmanager
async def mesh(folder: Path, environment: Mapping[str, str]) -> AsyncIterator[Mesh]:
    """A mesh over the servers that ``environment`` names (DOCTRAIN_DATABASE_URL and the others); all stops at the end."""
    running = Mesh(folder, environment)
    await running.bootstrap()
    try:
        yield running
    finally:
        for part in running.parts.values():
            part.destroy()
            await part.process.wait()
