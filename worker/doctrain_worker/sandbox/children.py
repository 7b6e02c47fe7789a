"""The children of a guardian: how they are started, killed with all below them, and known to be gone. Standard library only."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
from dataclasses import dataclass
from typing import Any

from doctrain_worker.sandbox import process_tree
from doctrain_worker.sandbox.memory import CHANNEL_VARIABLE


@dataclass
class Child:
    """A process that was ordered, and how it ended."""

    key: int
    pid: int
    cause: str = "own"
    status: int | None = None
    peak_rss_kb: int = 0


class Children:
    """The processes below this one, but for the main process."""

    def __init__(self) -> None:
        self._by_pid: dict[int, Child] = {}
        self._ended: list[Child] = []
        self.main_pid: int | None = None
        self.main_status: int | None = None

    def spawn(self, order: dict[str, Any]) -> tuple[int, socket.socket, socket.socket]:
        """Starts a child; answers its pid and the main process's ends of its channel and of what it prints."""
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        heard, printed = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        guardian = os.getpid()
        limits = [(getattr(resource, name), value) for name, value in order["limits"].items()]

        def enter() -> None:
            process_tree.die_with_parent(guardian)
            for limit, value in limits:
                resource.setrlimit(limit, (value, value))

        with far, printed:
            process = subprocess.Popen(  # noqa: S603 - the order comes from our own main process
                order["argv"],
                env={**order["env"], CHANNEL_VARIABLE: str(far.fileno())},
                stdin=subprocess.DEVNULL,
                stdout=printed.fileno(),
                stderr=printed.fileno(),
                pass_fds=(far.fileno(),),
                cwd="/",
                start_new_session=True,
                preexec_fn=enter,  # noqa: PLW1509 - one thread, so nothing can hold a lock over the fork
            )
        process.returncode = 0  # reaped by reap(), not by this object
        self._by_pid[process.pid] = Child(order["key"], process.pid)
        return process.pid, near, heard

    def kill(self, key: int, cause: str) -> None:
        """Begins to end one child with all below it; ``sweep`` tells when it is gone."""
        for child in self._by_pid.values():
            if child.key == key:
                child.cause = cause
                process_tree.kill_tree(child.pid)

    def kill_all(self, cause: str) -> bool:
        """Kills all that descends from this process, but for the main process; answers whether nothing was left."""
        for child in self._by_pid.values():
            child.cause = cause
        alive = process_tree.descendants(os.getpid(), spare=() if self.main_pid is None else (self.main_pid,))
        process_tree.kill(alive)
        return not alive

    def reap(self) -> None:
        """Collects what has ended."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.main_pid:
                self.main_pid, self.main_status = None, status
            elif pid in self._by_pid:
                child = self._by_pid.pop(pid)
                child.status, child.peak_rss_kb = status, usage.ru_maxrss
                self._ended.append(child)

    def sweep(self) -> list[Child]:
        """Kills orphans that children left; answers the children of which nothing is left."""
        strays = [p for p in process_tree.children() if p not in self._by_pid and p != self.main_pid]
        for pid in strays:
            process_tree.kill_tree(pid)
        if strays:
            return []
        ended, self._ended = self._ended, []
        return ended

    @property
    def ending(self) -> bool:
        """Whether some child was killed or has ended, but is not yet told gone."""
        return bool(self._ended) or any(child.cause != "own" for child in self._by_pid.values())
