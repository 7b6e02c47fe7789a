"""Looks at the mesh from outside while it runs: progress and slots counted, by one statement, and what every process takes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import asyncpg
import psutil

from chaos.away import AWAY
from chaos.fleet import Fleet, Post
from chaos.journal import Journal

PACE_SECONDS = 0.08
PROCESSES_EVERY = 40
ANSWER_SECONDS = 2.0
# One statement, so one snapshot: what is counted for each tenant, and what its plan allows.
_LOOK = """
select (select coalesce(sum(completed + failed), 0)::bigint from training) as ended,
    coalesce((select json_object_agg(tenant.name, json_build_array(counted.width, tenant_limit.slots)) from (
        select tenant, sum(width) as width from shard where state in (1, 2, 3) group by tenant) counted
    join tenant on tenant.id = counted.tenant join tenant_limit on tenant_limit.tenant = tenant.id), '{}')::text as slots,
    coalesce((select json_object_agg(worker_id, id) from session where state = 1), '{}')::text as live
"""

# For whoever looks into a slow recovery: transactions that are open for long, and what they wait for.
_WAITS = """
select application_name as who, state, wait_event_type as waits, wait_event as event, left(query, 120) as query,
    extract(epoch from clock_timestamp() - xact_start)::float8 as seconds, pid, pg_blocking_pids(pid) as behind
from pg_stat_activity where xact_start < clock_timestamp() - interval '0.7 s' and application_name <> 'chaos'
"""
WAITS_EVERY = 8


class Sampler:
    """``ended`` is the last count of recorded documents, ``moved_at`` when it was seen to rise."""

    def __init__(self, url: str, journal: Journal) -> None:
        self._url, self._journal = url, journal
        self._connection: asyncpg.Connection[Any] | None = None
        self.ended = 0
        self._moved = asyncio.Event()

    async def run(self, fleet: Fleet) -> None:
        """Until cancelled."""
        round_number = 0
        while True:
            started = time.monotonic()
            await self._look(started, waits=round_number % WAITS_EVERY == 0)
            if round_number % PROCESSES_EVERY == 0:
                for post in fleet.posts.values():
                    self._weigh(post)
            round_number += 1
            await asyncio.sleep(max(0.01, started + PACE_SECONDS - time.monotonic()))

    async def progress_after(self, since: float, seconds: float) -> float | None:
        """Seconds from ``since`` (now, or a little before) to the next recorded document; None when none came in time."""
        try:
            async with asyncio.timeout(seconds):
                self._moved.clear()
                await self._moved.wait()
        except TimeoutError:
            return None
        return time.monotonic() - since

    async def _look(self, asked: float, *, waits: bool) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if self._connection is None:
                    self._connection = await asyncpg.connect(self._url, server_settings={"application_name": "chaos"})
                row = await self._connection.fetchrow(_LOOK)
                for waiting in await self._connection.fetch(_WAITS) if waits else ():
                    self._journal.write("waits", **dict(waiting))
        except AWAY:
            if self._connection is not None:
                self._connection.terminate()
                self._connection = None
            await asyncio.sleep(PACE_SECONDS)
            return
        assert row is not None
        if row["ended"] > self.ended:
            self.ended = row["ended"]
            self._moved.set()
        self._journal.write("samples", asked=asked, ended=row["ended"], slots=row["slots"], live=row["live"])

    def _weigh(self, post: Post) -> None:
        for place, process in enumerate(post.tree):
            with contextlib.suppress(psutil.NoSuchProcess), process.oneshot():
                words, facts = process.cmdline(), process.memory_info()
                kind = next((w for w in ("worker-main", "coordinator", "guardian", "sandbox.child") if any(w in s for s in words)), "?")
                self._journal.write(
                    "processes",
                    part=post.name,
                    kind=kind if place or post.kind == "coordinator" else "guardian",
                    pid=process.pid,
                    rss=facts.rss,
                    fds=process.num_fds(),
                    threads=process.num_threads(),
                    children=len(process.children()),
                )
