"""The main process's side of the guardian: orders, events, the deadline, and whether it is fenced.

``Guardian.open()`` attaches to the guardian that started this process, or starts one (embedded). From then on:

- ``note_session(id, secret)`` when a session is open, then ``extend(deadline)`` at each answered heartbeat;
- ``check()`` before work starts: raises FencedError once the children are killed, or are about to be;
- after ``wait_fenced()`` every child is dead; ``note_session`` of the next session makes work possible again;
- ``fence()`` ends the session: kills all children at once and answers when they are dead.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from doctrain_worker.sandbox.shared import messages
from doctrain_worker.sandbox.shared.fenced import FencedError
from doctrain_worker.sandbox.shared.launch import Launch
from doctrain_worker.sandbox.shared.memory import GUARDIAN_VARIABLE, FenceMemory, Predecessor
from doctrain_worker.sandbox.shared.messages import LARGEST_ORDER, Cause
from doctrain_worker.sandbox.shared.process_tree import now_ns

T = TypeVar("T")

log = logging.getLogger(__name__)

SPAWN_SECONDS = 10.0
FENCE_SECONDS = 2.0
CLOSE_SECONDS = 5.0
STALE_SECONDS = 2.0
"""A guardian that has not looked at the deadline for this long is not to be relied on."""

_SPAWNS_AT_ONCE = 8
"""More would only wait at the guardian, and their time would run."""


class GuardianLostError(Exception):
    """The guardian is dead or frozen. Its children die with it; the worker's main process must end."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended, told when nothing below it is left.

    Args:
        code: its exit status, or None.
        signal: the signal that killed it, or None.
        peak_rss_bytes: the most memory that it, or a process below it, had at once.
        cause: why.
    """

    code: int | None
    signal: int | None
    peak_rss_bytes: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class SpawnedChild:
    """A running child: its key in orders, its pid, our ends of its channel and of what it prints, and its end when it comes."""

    key: int
    pid: int
    channel: socket.socket
    output: socket.socket
    exited: asyncio.Future[Exit]


class Guardian:
    """See the module. Made by ``open``; all methods are for the event loop's thread."""

    def __init__(self, link: socket.socket, memory: FenceMemory, pid: int) -> None:
        self._link = link
        self._memory = memory
        self._pid = pid
        self._loop = asyncio.get_running_loop()
        self._keys = itertools.count(1)
        self._spawning: dict[int, asyncio.Future[SpawnedChild]] = {}
        self._exits: dict[int, asyncio.Future[Exit]] = {}
        memory.taken = memory.epoch
        self._spawns = asyncio.Semaphore(_SPAWNS_AT_ONCE)
        self._orders: deque[bytes] = deque()
        self._fences: list[asyncio.Future[str]] = []
        self._fenced_why = "deadline"
        self._lost: str | None = None
        self._loss = asyncio.Event()
        link.setblocking(False)
        self._loop.add_reader(link.fileno(), self._on_readable)

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Guardian]:
        """Attaches to the guardian that started this process, else starts one; at exit all children are killed."""
        inherited = os.environ.pop(GUARDIAN_VARIABLE, None)
        process = None
        if inherited is not None:
            link_fd, memory_fd = map(int, inherited.split(","))
            os.set_inheritable(link_fd, False)
            os.set_inheritable(memory_fd, False)
            link, memory = socket.socket(fileno=link_fd), FenceMemory(memory_fd)
        else:
            link, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            memory = FenceMemory.create()
            with far:
                process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own command line; vfork and exec, done in a millisecond
                    [sys.executable, "-P", "-m", "doctrain_worker.sandbox.guardian", "--attached", f"{far.fileno()},{memory.fd}"],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(far.fileno(), memory.fd),
                    start_new_session=True,
                )
        guardian = cls(link, memory, os.getppid() if process is None else process.pid)
        try:
            yield guardian
        finally:
            guardian._close()
            if process is not None:
                await asyncio.shield(asyncio.to_thread(_await_end, process))
            memory.close()

    @property
    def pid(self) -> int:
        """The guardian's process, which all children are below."""
        return self._pid

    @property
    def predecessor(self) -> Predecessor:
        """The session of the main process before this one."""
        return self._memory.predecessor

    @property
    def fenced(self) -> bool:
        """Whether work may not go on: the children are dead, or the deadline has passed, or the guardian is lost."""
        deadline = self._memory.deadline_ns
        return self._lost is not None or self._memory.epoch != self._memory.taken or (deadline != 0 and now_ns() > deadline)

    def check(self) -> None:
        """Raises FencedError or GuardianLostError when work may not start."""
        if self._lost is not None:
            raise GuardianLostError(self._lost)
        if self.fenced:
            raise FencedError("The children of this session were stopped.")

    def note_session(self, session: int, secret: bytes) -> None:
        """A new session begins: work may start again, and a guardian that restarts us hands this session down."""
        self._memory.deadline_ns = 0
        self._memory.taken = self._memory.epoch
        self._memory.note_session(session, secret)
        self._tell_fenced()

    def extend(self, deadline_seconds: float) -> bool:
        """Moves the deadline to this time of CLOCK_MONOTONIC (``time.monotonic``); never back.

        Answers False when it was not moved: too late (see ``fenced``), or the guardian has not looked at it for a while, as
        after a freeze of the whole machine; then the next heartbeat may do it.
        """
        if self._lost is not None:
            raise GuardianLostError(self._lost)
        if self.fenced:
            return False
        polled = self._memory.polled_ns
        if polled and now_ns() - polled > STALE_SECONDS * 1e9:
            log.warning("the guardian has not looked at the deadline for more than %g s", STALE_SECONDS)
            return False
        self._memory.deadline_ns = max(self._memory.deadline_ns, int(deadline_seconds * 1e9))
        return not self.fenced

    async def wait_fenced(self) -> str:
        """Waits until all children were killed at once, and are dead; answers why. Raises GuardianLostError."""
        if self._memory.epoch != self._memory.taken:
            return self._fenced_why
        if self._lost is not None:
            raise GuardianLostError(self._lost)
        told = self._loop.create_future()
        self._fences.append(told)
        return str(await told)

    async def wait_lost(self) -> NoReturn:
        """Waits until the guardian is dead or given up. Raises GuardianLostError."""
        await self._loss.wait()
        raise GuardianLostError(self._lost)

    async def fence(self) -> None:
        """Ends the session: kills all children; returns when they are dead.

        A main process that dies before it has the next session leaves this one named as self-fenced. A guardian that does
        not say that they are dead within FENCE_SECONDS is killed itself, which kills its children, and GuardianLostError
        is raised.
        """
        epoch = self._memory.taken
        if self._memory.epoch == epoch:
            self._order(messages.Fence(epoch))
            await self._bounded(self.wait_fenced(), "to kill all children", FENCE_SECONDS)
        self._memory.note_self_fenced()

    async def spawn(self, launch: Launch) -> SpawnedChild:
        """Starts a child below the guardian. Raises OSError when it could not be started."""
        async with self._spawns:
            key = next(self._keys)
            started = self._spawning[key] = self._loop.create_future()
            try:
                self._order(messages.Spawn(key, launch))
                return await self._bounded(started, "to start a child", SPAWN_SECONDS)
            except asyncio.CancelledError:
                if started.done() and not started.cancelled() and started.exception() is None:
                    self._discard(started.result())
                raise
            finally:
                self._spawning.pop(key, None)

    def kill(self, key: int) -> None:
        """Orders the end of a child and all below it; its ``exited`` tells when they are dead."""
        if key in self._exits:
            self._order(messages.Kill(key))

    def give_up(self, why: str) -> GuardianLostError:
        """Kills a guardian that does not do its work; the kernel kills its children with it. Answers the error to raise."""
        if self._lost is None:
            os.kill(self._pid, signal.SIGKILL)
            self._lose(why)
        return GuardianLostError(self._lost)

    async def _bounded(self, waiting: Awaitable[T], what: str, seconds: float) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await waiting
        except TimeoutError as error:
            raise self.give_up(f"The guardian took more than {seconds:g} s {what}.") from error

    def _order(self, order: messages.Order) -> None:
        """Sends an order, or keeps it until the guardian takes more. Raises OSError for one that is too long, GuardianLostError."""
        message = messages.packed_order(order)
        if len(message) > LARGEST_ORDER:
            sentence = f"A child's command line and environment take {len(message)} bytes, more than {LARGEST_ORDER}; shorten PYTHONPATH."
            raise OSError(errno.EMSGSIZE, sentence)
        self._orders.append(message)
        self._send_orders()
        if self._lost is not None:
            raise GuardianLostError(self._lost)

    def _send_orders(self) -> None:
        while self._orders and self._lost is None:
            try:
                self._link.send(self._orders[0])
            except BlockingIOError:
                self._loop.add_writer(self._link.fileno(), self._send_orders)
                return
            except OSError as error:
                self._lose(f"The guardian takes no orders ({error}).")
                return
            self._orders.popleft()
        if self._lost is None:
            self._loop.remove_writer(self._link.fileno())

    def _on_readable(self) -> None:
        while self._lost is None:
            try:
                message, descriptors, _, _ = socket.recv_fds(self._link, messages.LARGEST_EVENT, 2)
            except BlockingIOError:
                return
            except ConnectionError:
                message, descriptors = b"", []
            if not message:
                self._lose("The guardian is dead.")
                return
            self._on_event(messages.read_event(message), descriptors)

    def _on_event(self, event: messages.Event, descriptors: list[int]) -> None:
        match event:
            case messages.Fenced(epoch, cause):
                log.warning("all children were stopped and are dead (%s)", cause)
                self._fenced_why = cause
                if epoch > self._memory.taken:  # else it is about a session that is over
                    self._tell_fenced()
            case messages.Spawned(key, pid):
                self._on_spawned(key, pid, *(socket.socket(fileno=descriptor) for descriptor in descriptors))
            case messages.NotSpawned(key, why):
                started = self._spawning.pop(key, None)
                if started is not None and not started.done():
                    started.set_exception(OSError(f"The child could not be started: {why}"))
            case messages.Exited(key, status, rss_kb, cause):
                exited = self._exits.pop(key, None)
                if exited is not None and not exited.done():
                    code = os.waitstatus_to_exitcode(status)
                    exited.set_result(Exit(code if code >= 0 else None, -code if code < 0 else None, rss_kb * 1024, cause))

    def _on_spawned(self, key: int, pid: int, channel: socket.socket, output: socket.socket) -> None:
        exited = self._exits[key] = self._loop.create_future()
        spawned = SpawnedChild(key, pid, channel, output, exited)
        started = self._spawning.pop(key, None)
        if started is None or started.done():
            self._discard(spawned)
        else:
            started.set_result(spawned)

    def _discard(self, spawned: SpawnedChild) -> None:
        """Whoever asked for it has gone; it ends with its channel, but not on our word alone."""
        spawned.output.close()
        spawned.channel.close()
        with suppress(GuardianLostError):
            self.kill(spawned.key)

    def _tell_fenced(self) -> None:
        waiting, self._fences = self._fences, []
        for told in waiting:
            if not told.done():
                told.set_result(self._fenced_why)

    def _lose(self, why: str) -> None:
        if self._lost is not None:
            return
        self._lost = why
        self._loss.set()
        self._loop.remove_reader(self._link.fileno())
        self._loop.remove_writer(self._link.fileno())
        waiting: list[asyncio.Future[Any]] = [*self._spawning.values(), *self._fences, *self._exits.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(GuardianLostError(why))
                future.exception()  # seen: not everyone who may wait does
        self._spawning.clear()
        self._fences.clear()
        self._exits.clear()

    def _close(self) -> None:
        self._lose("The guardian is closed.")
        self._link.close()


def _await_end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(CLOSE_SECONDS)
    except subprocess.TimeoutExpired:
        log.warning("the guardian did not end within %g s of its socket's; it is killed", CLOSE_SECONDS)
        process.kill()
        process.wait()
