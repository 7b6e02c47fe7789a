"""One sitting: a world, its tenants, a nemesis, and what the checker says of it."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos import checks, report, rest
from chaos.evidence import Evidence
from chaos.faults import ALL
from chaos.faults.fault import Fault
from chaos.nemesis import Nemesis
from chaos.small_disk import SmallDisk
from chaos.workload import workload
from chaos.world import world

END_SECONDS = 240.0


@dataclass(frozen=True)
class Plan:
    """What a sitting is to be."""

    seed: int
    faults: int
    documents: int
    kinds: Sequence[type[Fault]] = ALL
    breaks: str = ""
    size: float = 1.0
    end_seconds: float = END_SECONDS


async def sit(plan: Plan, folder: Path) -> dict[str, Any]:
    """Runs it in ``folder`` (emptied first) and answers its result; evidence stays when a rule was broken."""
    folder = folder.resolve()  # servers have folders of their own to start in
    SmallDisk.unmount_left(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    async with world(folder, plan.seed, breaks=plan.breaks) as running, workload(running, plan.size) as load:
        nemesis = Nemesis(running, plan.kinds)
        print(f"seed {plan.seed}: the mesh works after {time.monotonic() - began:.0f} s", flush=True)
        await nemesis.run(plan.faults)
        print(f"{nemesis.dealt} faults after {time.monotonic() - began:.0f} s, {running.sampler.ended} documents recorded", flush=True)
        while load.accepted < plan.documents and time.monotonic() - began < plan.end_seconds + 60 * 60:
            await asyncio.sleep(0.5)
        finished = await load.finish(plan.end_seconds)
        await rest.dump(running, {"finished": finished, "unfinished": sorted(load.unfinished), **await rest.settle(running)})
    evidence = Evidence(folder)
    broken = checks.violations(evidence)
    result = report.result(plan.seed, evidence, broken, time.monotonic() - began)
    if not broken:
        shutil.rmtree(folder)
    return result
