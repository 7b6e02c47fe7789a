"""How long a killed worker's documents stand still: SIGKILL to their next start elsewhere, with every other worker busy.

PYTHONPATH=tests python -m benchmarks.recovery [ROUNDS]
"""

from __future__ import annotations

import asyncio
import collections
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

import doctrain
from benchmarks.servers import servers
from testkit.mesh import mesh
from testkit.tenants import tenant

DOCUMENTS = 3_000


async def one(folder: Path, environment: dict[str, str]) -> tuple[float, int]:
    """Seconds until the first, and how many documents ran twice."""
    settings = {"DOCTRAIN_PROCESSOR": "benchmarks.processors:sleep", "DOCTRAIN_EXECUTION_LOG": ""}
    async with mesh(folder, environment) as running:
        for name in ("coordinator-1", "coordinator-2"):
            await running.coordinator(name)
        for name in ("worker-1", "worker-2", "worker-3"):
            log = str(folder / f"{name}.executions.jsonl")
            await running.worker(name, **{**settings, "DOCTRAIN_EXECUTION_LOG": log})
        async with await tenant(running, "acme", "paid") as client:
            numbered = doctrain.NumberedDocuments(uri_template="s3://benchmark/{n}", first=0, count=DOCUMENTS)
            started = await client.start_training(numbered=numbered)
            async for update in client.watch(started.training.training_task_id):
                if update.training.completed > DOCUMENTS // 6:
                    break
            guardian = psutil.Process(running.parts["worker-1"].process.pid)
            main = next(p for p in guardian.children(recursive=True) if "worker-main" in p.cmdline())
            main.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            ended = await client.wait(started.training.training_task_id)
        assert ended.completed == DOCUMENTS
        starts = [event for event in running.executions() if event["event"] == "start"]
        times = collections.Counter(event["ordinal"] for event in starts)
        again = [event["monotonic"] for event in starts if times[event["ordinal"]] > 1 and event["monotonic"] > killed]
        return min(again, default=killed) - killed, sum(count > 1 for count in times.values())


async def main(rounds: int) -> None:
    """Prints a line a round, then the median and the worst."""
    seconds = []
    with servers() as real:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="doctrain-recovery-") as folder:
                async with real.environment(Path(folder)) as environment:
                    (Path(folder) / "blobs").mkdir()
                    took, twice = await one(Path(folder), environment)
            seconds.append(took)
            print(f"went on after {took:.2f} s; {twice} of {DOCUMENTS} documents ran twice", flush=True)
    print(f"median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s of {rounds}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
