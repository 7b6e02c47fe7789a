"""The guardian: a tiny process that ends a worker's children in time, whatever state the worker's main process is in.

It is the parent of every child and, standalone, of the main process too. A frozen process fires no timer, and the
parent-death signal misses grandchildren, so this process does what the main process cannot be trusted to do:

- The main process moves a deadline in shared memory at each answered heartbeat. When it passes, every child and all
  below it are killed; when the last is dead, the epoch is raised ("fenced"). Until the main process has taken note of that
  epoch, there is no session and no deadline. Deadline 0: nothing is killed for time.
- Five times a second it looks at what each child and all below it use together, and kills those that use too much.
- When the main process dies or closes its socket, all children are killed. Standalone, it is then started again, with
  the session that died, and whether it had fenced itself, in their shared memory; later and later when it keeps dying young.
- When the guardian dies, the kernel kills its children, and the main process reads the end of the socket.

It imports the standard library only: it must start fast, stay small, and never load gRPC. One thread; nothing in its
loop waits, so no child, and no main process that stopped reading, can keep it from the deadline.

Orders and events are those of ``shared.messages``; a child's channel and output come to the main process by SCM_RIGHTS.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections import deque
from dataclasses import replace
from datetime import datetime

from doctrain_worker.sandbox.guardian.children import Children
from doctrain_worker.sandbox.shared import messages, process_tree
from doctrain_worker.sandbox.shared.memory import GUARDIAN_VARIABLE, FenceMemory
from doctrain_worker.sandbox.shared.messages import Cause
from doctrain_worker.sandbox.shared.process_tree import now_ns

EXIT_CONFIGURATION = 78
"""A main process that ends with this (EX_CONFIG) is not started again: it would end the same way."""

_POLL_SECONDS = 0.04
_BUSY_SECONDS = 0.001
_LOOK_SECONDS = 0.2
_YOUNG_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 30.0


class GuardianProcess:
    """The loop: orders of the main process, ends of children, the deadline.

    Args:
        memory: shared with the main process.
        link: the socket to the main process; None until one is started.
        main_argv: how to start the main process; None when it started us.
    """

    def __init__(self, memory: FenceMemory, link: socket.socket | None, main_argv: list[str] | None) -> None:
        self._memory = memory
        self._link = link
        self._main_argv = main_argv
        self._children = Children()
        self._outbox: deque[tuple[bytes, list[socket.socket]]] = deque()
        self._fencing: str | None = None
        self._stopping = False
        self._main_started_ns = 0
        self._start_at_ns = now_ns()
        self._pause_seconds = 0.0
        self._look_at_ns = 0
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> int:
        """Runs until the main process is gone for good and every child dead; answers the exit status."""
        process_tree.become_subreaper()
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_stop_signal)
        while True:
            exit_status = self._step()
            if exit_status is not None:
                return exit_status
            self._wait(_BUSY_SECONDS if self._fencing or self._children.ending else _POLL_SECONDS)

    def _wait(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        if self._link is not None:
            poll.register(self._link, select.POLLIN | (select.POLLOUT if self._outbox else 0))
        for descriptor, _ in poll.poll(seconds * 1000):
            if descriptor == self._wake_read:
                os.read(self._wake_read, 4096)

    def _step(self) -> int | None:
        self._memory.polled_ns = now = now_ns()
        if self._memory.taken == self._memory.epoch:  # looked at first: the deadline is then no more that of a session that is over
            deadline = self._memory.deadline_ns
            if deadline and now > deadline:
                self._fence("deadline")
        self._take_order()
        self._children.reap()
        if now > self._look_at_ns:
            self._look_at_ns = now + int(_LOOK_SECONDS * 1e9)
            self._children.look()
        for child in self._children.sweep():
            self._tell(child.exited())
        if self._children.main_status is not None:
            self._drop_link()
        if self._fencing is not None and self._children.kill_all(Cause.FENCED):
            self._finish_fence(self._fencing)
        if self._fencing is None and self._link is None and self._children.main_pid is None:
            return self._main_is_gone(now)
        self._flush()
        return None

    def _fence(self, cause: str) -> None:
        if self._fencing is None:
            self._fencing = cause

    def _finish_fence(self, cause: str) -> None:
        self._children.reap()
        for child in self._children.sweep():
            self._tell(replace(child.exited(), cause=Cause.FENCED))
        self._memory.epoch += 1
        self._tell(messages.Fenced(self._memory.epoch, cause))
        self._fencing = None

    def _main_is_gone(self, now: int) -> int | None:
        status, self._children.main_status = self._children.main_status, None
        if self._main_argv is None:
            return 0
        if status is not None:
            code = os.waitstatus_to_exitcode(status)
            if self._stopping or code in (0, EXIT_CONFIGURATION):
                return code if code >= 0 else 128 - code
            self._plan_restart(code, now)
        if self._stopping:
            return 0
        if now >= self._start_at_ns:
            self._start_main(self._main_argv)
        return None

    def _plan_restart(self, code: int, now: int) -> None:
        young = now - self._main_started_ns < _YOUNG_SECONDS * 1e9
        self._pause_seconds = min(max(self._pause_seconds * 2, 0.25), _LONGEST_PAUSE_SECONDS) if young else 0.0
        self._start_at_ns = now + int(self._pause_seconds * 1e9)
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        _say(f"The worker's main process ended {how}; its children are dead; starting it again in {self._pause_seconds:g} s.")

    def _start_main(self, argv: list[str]) -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near.setblocking(False)
        self._memory.hand_down()
        environment = {**os.environ, GUARDIAN_VARIABLE: f"{far.fileno()},{self._memory.fd}"}
        with far:
            process = subprocess.Popen(  # noqa: S603 - our own command line
                argv, env=environment, pass_fds=(far.fileno(), self._memory.fd), start_new_session=True
            )
        process.returncode = 0  # reaped by Children.reap, not by this object
        self._children.main_pid = process.pid
        self._main_started_ns = now_ns()
        self._link = near

    def _on_stop_signal(self, *_: object) -> None:
        if self._main_argv is None:
            return  # ours to obey is the main process: it closes the socket
        self._stopping = True
        if self._children.main_pid is not None:
            os.kill(self._children.main_pid, signal.SIGTERM)

    def _drop_link(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
            for _, sockets in self._outbox:
                for held in sockets:
                    held.close()
            self._outbox.clear()
            self._fence("main process gone")

    def _take_order(self) -> None:
        """One at a time: to start a child takes milliseconds, and the deadline is looked at in between."""
        if self._link is None:
            return
        try:
            message = self._link.recv(messages.LARGEST_ORDER)
        except BlockingIOError:
            return
        except ConnectionError:
            message = b""
        if message:
            self._obey(messages.read_order(message))
        else:
            self._drop_link()

    def _obey(self, order: messages.Order) -> None:
        match order:
            case messages.Fence(epoch):
                if epoch == self._memory.epoch:  # else it comes after the deadline's, and would hit the next session
                    self._fence("ordered")
            case messages.Kill(key):
                self._children.kill(key, Cause.KILLED)
            case messages.Spawn(key) if self._fencing is not None:
                self._tell(messages.NotSpawned(key, "all children are being killed"))
            case messages.Spawn(key, launch):
                try:
                    pid, channel, output = self._children.spawn(key, launch)
                except (OSError, subprocess.SubprocessError) as error:
                    self._tell(messages.NotSpawned(key, str(error)))
                else:
                    self._tell(messages.Spawned(key, pid), channel, output)

    def _tell(self, event: messages.Event, *sockets: socket.socket) -> None:
        if self._link is None:
            for held in sockets:
                held.close()
            return
        self._outbox.append((messages.packed_event(event), list(sockets)))
        self._flush()

    def _flush(self) -> None:
        while self._outbox and self._link is not None:
            message, sockets = self._outbox[0]
            try:
                socket.send_fds(self._link, [message], [held.fileno() for held in sockets])
            except BlockingIOError:
                return  # the main process does not read now; it may be frozen
            except ConnectionError:
                self._drop_link()
                return
            self._outbox.popleft()
            for held in sockets:
                held.close()


def _say(sentence: str) -> None:
    """In the form of the main process's log; no logging here, for the guardian stays tiny."""
    moment = datetime.now().astimezone().isoformat(timespec="milliseconds")
    line = {"time": moment, "level": "WARNING", "logger": "doctrain_worker.guardian", "message": sentence}
    as_json = os.environ.get("DOCTRAIN_LOG_FORMAT") == "json"
    text = json.dumps(line) if as_json else f"{moment} WARNING doctrain_worker.guardian: {sentence}"
    print(text, file=sys.stderr, flush=True)  # noqa: T201
