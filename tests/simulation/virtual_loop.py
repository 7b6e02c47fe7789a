"""An event loop whose time is virtual: it jumps to the next timer when nothing is ready. No I/O, no real clock.

Tasks and futures hash by the order in which they were made, so that sets of them have one order and a seed one course. Every
callback belongs to the process that scheduled it (a context variable): that of a frozen process waits until it thaws.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from collections.abc import Coroutine
from typing import Any

START = 1_000.0
RESOLUTION = 1e-9
MOST_CALLBACKS = 5_000_000


class Process:
    """What is frozen, thawed and killed as one. ``alive`` gates what it does to the world outside; ``serves`` is for callers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen = False
        self.frozen_since = float("-inf")
        self.backlog: list[asyncio.Handle] = []
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.serves: Any = None

    def spawn(self, work: Coroutine[Any, Any, Any], name: str = "") -> asyncio.Task[Any]:
        """Runs ``work`` as a part of this process."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        task = asyncio.get_running_loop().create_task(work, name=name or self.name, context=context)
        self.tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(task, None)

    def freeze(self) -> None:
        """None of its callbacks run until it thaws; its clock goes on."""
        self.frozen, self.frozen_since = True, virtual_loop().time()

    def thaw(self) -> None:
        """What was due meanwhile runs now, in order."""
        self.frozen = False
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.resume(self.backlog)
        self.backlog = []

    def kill(self) -> None:
        """Nothing that it does reaches the world any more; its tasks are unwound."""
        self.alive = False
        self.thaw()
        for task in tuple(self.tasks):
            task.cancel()


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class _Task(asyncio.Task[Any]):
    def __hash__(self) -> int:
        return self.place

    place: int


class _Future(asyncio.Future[Any]):
    def __hash__(self) -> int:
        return self.place

    place: int


class StuckError(Exception):
    """Nothing can ever happen again, or too much does."""


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module."""

    _ready: Any
    _scheduled: list[Any]
    _timer_cancelled_count: int

    def __init__(self) -> None:
        super().__init__()
        self._now = START
        self._clock_resolution = RESOLUTION
        self._places = itertools.count(1)
        self._left = MOST_CALLBACKS
        self.world = contextvars.Context()
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._now

    def create_future(self) -> asyncio.Future[Any]:
        future = _Future(loop=self)
        future.place = next(self._places)
        return future

    def later(self, seconds: float, callback: Any, *args: Any) -> asyncio.TimerHandle:
        """Calls back as a part of the world, which never freezes."""
        return self.call_later(seconds, callback, *args, context=self.world)

    def outside(self, work: Coroutine[Any, Any, Any], name: str = "") -> asyncio.Task[Any]:
        """Runs ``work`` as a part of the world."""
        return self.create_task(work, name=name, context=self.world)

    def resume(self, handles: list[asyncio.Handle]) -> None:
        """Puts back what a frozen process could not run."""
        self._ready.extend(handles)

    @staticmethod
    def _make_task(loop: Any, work: Any, **options: Any) -> asyncio.Task[Any]:
        task = _Task.__new__(_Task)
        task.place = next(loop._places)
        task.__init__(work, loop=loop, **options)  # type: ignore[misc]  # its place must be there before it is registered
        return task

    def _write_to_self(self) -> None:
        """Nothing waits in a selector."""

    def _run_once(self) -> None:
        scheduled, ready = self._scheduled, self._ready
        if len(scheduled) > 100 and self._timer_cancelled_count > len(scheduled) / 2:
            scheduled[:] = [handle for handle in scheduled if not handle._cancelled]
            heapq.heapify(scheduled)
            self._timer_cancelled_count = 0
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)
            self._timer_cancelled_count -= 1
        if not ready and not self._stopping:
            if not scheduled:
                raise StuckError("No callback and no timer is left: whoever waits, waits for ever.")
            self._now = max(self._now, scheduled[0]._when)
        due = self._now + RESOLUTION
        while scheduled and scheduled[0]._when <= due:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        self._left -= len(ready)
        if self._left < 0:
            raise StuckError(f"More than {MOST_CALLBACKS} callbacks: something runs in circles.")
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is not None and process.frozen:
                process.backlog.append(handle)
            else:
                handle._run()

    _stopping: bool


def virtual_loop() -> VirtualLoop:
    """The running loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop
