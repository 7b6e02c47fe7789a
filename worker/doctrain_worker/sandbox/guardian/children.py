"""The children of a guardian: how they are started, held to their limits, killed with all below them, and known to be gone.

Standard library only.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from doctrain_worker.sandbox.guardian import watch
from doctrain_worker.sandbox.shared import process_tree
from doctrain_worker.sandbox.shared.launch import BWRAP_SCRATCH, CHANNEL_VARIABLE, Confinement, Launch, own_user_of
from doctrain_worker.sandbox.shared.messages import Cause, Exited

_REMOVE = 'chmod -R u+rwX "$0"; exec rm -rf "$0"'


@dataclass
class Child:
    """A process that was ordered, and how it ended."""

    key: int
    pid: int
    launch: Launch
    scratch: str
    cause: Cause = Cause.OWN
    status: int | None = None
    peak_rss_kb: int = 0

    def exited(self) -> Exited:
        """What is told of it once it is gone."""
        assert self.status is not None
        return Exited(self.key, self.status, self.peak_rss_kb, self.cause)


class Children:
    """The processes below this one, but for the main process."""

    def __init__(self) -> None:
        self._by_pid: dict[int, Child] = {}
        self._ended: list[Child] = []
        self._removing: set[int] = set()
        self.main_pid: int | None = None
        self.main_status: int | None = None

    def spawn(self, key: int, launch: Launch) -> tuple[int, socket.socket, socket.socket]:
        """Starts a child; answers its pid and the main process's ends of its channel and of what it prints. Raises OSError."""
        user = own_user_of(os.getpid(), key) if launch.own_user else 0
        scratch = _scratch(launch.way, user)
        with ExitStack() as undo:
            undo.callback(self._remove, scratch)
            near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            heard, printed = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            undo.callback(near.close)
            undo.callback(heard.close)
            with far, printed:
                pid = _started(launch, scratch, user, far.fileno(), printed.fileno())
            undo.pop_all()
        self._by_pid[pid] = Child(key, pid, launch, scratch)
        return pid, near, heard

    def look(self) -> None:
        """Begins to end the children that use more than they may."""
        for child in self._by_pid.values():
            if child.launch.tree_bytes and child.cause is Cause.OWN:
                too_much = watch.excess(child.pid, child.launch.tree_bytes, child.scratch, shown=child.launch.way == "rlimit")
                if too_much:
                    self.kill(child.key, too_much)

    def kill(self, key: int, cause: Cause) -> None:
        """Begins to end one child with all below it; ``sweep`` tells when it is gone."""
        for child in self._by_pid.values():
            if child.key == key:
                child.cause = cause if child.cause is Cause.OWN else child.cause
                process_tree.kill_tree(child.pid)

    def kill_all(self, cause: Cause) -> bool:
        """Kills all that descends from this process, but for the main process; answers whether nothing was left."""
        for child in self._by_pid.values():
            child.cause = cause
        alive = process_tree.descendants(os.getpid(), spare=self._ours())
        process_tree.kill(alive)
        return not alive

    def reap(self) -> None:
        """Collects what has ended."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            session = os.getsid(found.si_pid)  # a child begins one, and its sandbox stays in it
            pid, status, usage = os.wait4(found.si_pid, 0)
            self._removing.discard(pid)
            if pid == self.main_pid:
                self.main_pid, self.main_status = None, status
            elif pid in self._by_pid:
                child = self._by_pid.pop(pid)
                child.status = status
                self._ended.append(child)
            for child in (*self._by_pid.values(), *self._ended):
                if child.pid == session:  # a sandbox's outer process tells nothing of the memory below it, the inner one does
                    child.peak_rss_kb = max(child.peak_rss_kb, usage.ru_maxrss)

    def sweep(self) -> list[Child]:
        """Kills orphans that children left; answers the children of which nothing is left."""
        ours = self._ours()
        strays = [pid for pid in process_tree.children() if pid not in self._by_pid and pid not in ours]
        for pid in strays:
            process_tree.kill_tree(pid)
        if strays:
            return []
        ended, self._ended = self._ended, []
        for child in ended:
            self._remove(child.scratch)
        return ended

    @property
    def ending(self) -> bool:
        """Whether some child was killed or has ended, but is not yet told gone."""
        return bool(self._ended) or any(child.cause is not Cause.OWN for child in self._by_pid.values())

    def _ours(self) -> set[int]:
        return self._removing if self.main_pid is None else {self.main_pid, *self._removing}

    def _remove(self, scratch: str) -> None:
        """What a document left in it may be much, and deep: that is for a process of its own, so that nothing waits."""
        if scratch in ("", BWRAP_SCRATCH):
            return
        try:
            Path(scratch).rmdir()
        except OSError:
            with suppress(OSError):  # then it stays, and takes no more than its room
                remover = subprocess.Popen(["/bin/sh", "-c", _REMOVE, scratch], stderr=subprocess.DEVNULL)  # noqa: S603 - our own command line
                remover.returncode = 0  # reaped by reap(), not by this object
                self._removing.add(remover.pid)


def _started(launch: Launch, scratch: str, user: int, channel: int, output: int) -> int:
    guardian = os.getpid()
    limits = [(getattr(resource, name), value) for name, value in launch.limits.items()]
    alone = bool(user) or (launch.way != "rlimit" and os.geteuid() != 0)
    told = Confinement(launch.way, scratch, user, alone).variables() if launch.way else {}

    def enter() -> None:
        process_tree.die_with_parent(guardian)
        for limit, value in limits:
            resource.setrlimit(limit, (value, value))

    process = subprocess.Popen(  # noqa: S603 - the order comes from our own main process
        launch.argv,
        env={**launch.environment, **told, CHANNEL_VARIABLE: str(channel)},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=(channel,),
        cwd="/",
        start_new_session=True,
        preexec_fn=enter,  # noqa: PLW1509 - one thread, so nothing can hold a lock over the fork
    )
    process.returncode = 0  # reaped by Children.reap, not by this object
    return process.pid


def _scratch(way: str, user: int) -> str:
    if way in ("", "bwrap"):
        return BWRAP_SCRATCH if way else ""
    folder = tempfile.mkdtemp(prefix="doctrain-child-")
    if user:
        os.chown(folder, user, user)
    return folder
