"""A real server as a test has it: on free ports, on a folder of its own, gone with its users; killed, frozen or wiped at will."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

import psutil
import pytest

from testkit import keeper
from testkit.waiting import wait_blocking

START_SECONDS = 90.0
KILL_SECONDS = 10.0
S = TypeVar("S", bound="Server")

# Below the range from which the kernel takes ports for outgoing connections: a killed server finds its port free again.
_PORTS = range(10_000, 32_000)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def unavailable(server: str) -> NoReturn:
    """A missing server skips on a laptop and fails where CI=true."""
    sentence = f"{server} is not installed; `make setup-test` installs it."
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(sentence)
    pytest.skip(sentence)


class Server:
    """One server process with its children. Not started by the constructor.

    ``kill``, ``freeze`` and ``thaw`` act at once on all its processes; ``restart`` and ``wipe`` return when it answers again.
    """

    name = "server"

    def __init__(self, folder: Path, users_lock: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.log = folder / "log"
        self._users_lock = users_lock
        self._keeper: psutil.Process | None = None

    # What a kind of server says

    def prepare(self) -> None:
        """Makes what the first start needs; called before each start."""

    def command(self) -> list[str]:
        """The program and its arguments, in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Variables beside the caller's own."""
        return {}

    def answers(self) -> bool:
        """Whether it serves."""
        raise NotImplementedError

    def forget(self) -> None:
        """Removes the data of the stopped server."""
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    # What tests do

    def start(self) -> None:
        """Starts it and waits until it answers. Blocking: for fixtures; tests await ``restart``."""
        self.prepare()
        command = [sys.executable, "-I", "-S", keeper.__file__, str(self._users_lock), str(self.folder), *self.command()]
        with self.log.open("ab") as log, Path(os.devnull).open("rb") as nothing:
            files = [(os.POSIX_SPAWN_DUP2, nothing.fileno(), 0), *((os.POSIX_SPAWN_DUP2, log.fileno(), number) for number in (1, 2))]
            # Not subprocess: a shared server's keeper may outlive the process that started it, and must not be waited for.
            pid = os.posix_spawn(command[0], command, {**os.environ, **self.environment()}, file_actions=files, setsid=True)
        self._keeper = psutil.Process(pid)

        def ready() -> bool:
            if not self.running:
                raise AssertionError(f"{self.name} ended while it started:\n{self._log_tail()}")
            return self.answers()

        try:
            wait_blocking(ready, START_SECONDS, f"{self.name} answers")
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}\n{self._log_tail()}") from error

    def kill(self) -> None:
        """SIGKILL to the server and its children; returns when they are gone."""
        processes = self._processes()
        self._send(signal.SIGKILL, processes)
        wait_blocking(lambda: all(map(_ended, processes)), KILL_SECONDS, f"the killed {self.name} is gone")
        if self._keeper is not None:
            self._keeper.wait(KILL_SECONDS)
            self._keeper = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers; returns when every process stands still."""
        processes = self._processes()
        self._send(signal.SIGSTOP, processes)
        wait_blocking(lambda: all(_stands_still(process) for process in processes), KILL_SECONDS, f"{self.name} stands still")

    def thaw(self) -> None:
        """SIGCONT: it goes on where it stopped."""
        self._send(signal.SIGCONT, self._processes())

    async def restart(self) -> None:
        """Kills it if it runs and starts it on its data and port."""
        await asyncio.to_thread(self.ensure_started, anew=True)

    async def wipe(self) -> None:
        """Kills it and starts it empty, on the same port."""
        self.kill()
        self.forget()
        await asyncio.to_thread(self.start)

    def ensure_started(self, *, anew: bool = False) -> None:
        """Runs and answers afterwards, whatever a test did before."""
        if self.running and not anew:
            self.thaw()
            wait_blocking(self.answers, START_SECONDS, f"{self.name} answers")
            return
        self.kill()
        self.start()

    @property
    def running(self) -> bool:
        """Whether the process lives (it may be frozen)."""
        if self._keeper is None:
            return False
        try:
            self._keeper.wait(0)
        except psutil.TimeoutExpired:
            return True
        return False

    @property
    def pid(self) -> int:
        """The process that all of the server's are below."""
        assert self._keeper is not None
        return self._keeper.pid

    def _processes(self) -> list[psutil.Process]:
        if self._keeper is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self._keeper.pid).children(recursive=True)
        return []

    @staticmethod
    def _send(number: int, processes: list[psutil.Process]) -> None:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""


def _ended(process: psutil.Process) -> bool:
    """Gone, or dead and not yet reaped by a process that is not ours."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextlib.contextmanager
def own_server(kind: Callable[[Path, Path], S], folder: Path) -> Iterator[S]:
    """A server for the caller alone, who may do anything to it; started, and gone at the end or with the caller."""
    with _users(folder) as users_lock:
        server = kind(folder / "server", users_lock)
        server.folder.mkdir()
        try:
            server.start()
            yield server
        finally:
            server.kill()
            shutil.rmtree(server.folder, ignore_errors=True)


@contextlib.contextmanager
def shared_server(kind: Callable[[Path, Path, int | None], S], folder: Path) -> Iterator[S]:
    """One server for all processes that name this folder: the first one starts it, it ends with the last. Never to be killed."""
    folder.mkdir(exist_ok=True)
    with _users(folder) as users_lock:
        with (folder / "start.lock").open("a") as start_lock:
            fcntl.flock(start_lock, fcntl.LOCK_EX)
            server = _found_or_started(kind, folder / "server", users_lock)
        yield server


def _found_or_started(kind: Callable[[Path, Path, int | None], S], folder: Path, users_lock: Path) -> S:
    facts = folder / "facts.json"
    if facts.exists():
        return kind(folder, users_lock, json.loads(facts.read_text())["port"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    server = kind(folder, users_lock, None)
    server.start()
    facts.write_text(json.dumps({"port": server.port}))
    return server


@contextlib.contextmanager
def _users(folder: Path) -> Iterator[Path]:
    """Counts this process among those that need the server of ``folder``."""
    path = folder / "users.lock"
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield path


def _stands_still(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE})
    return True
