"""How children are shut in: what a document that took one over could still see and do.

Three ways, the strongest that works here unless one is asked for: ``bwrap`` (bubblewrap: no network, no other process,
of the files only the programs and libraries), ``unshare`` (no network and no other process) and ``rlimit`` (no namespaces). In
each, a child gives up by itself what this kernel lets it (``confinement``), has a clean environment, and the same limits.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from doctrain_worker.sandbox.shared import landlock, seccomp
from doctrain_worker.sandbox.shared.landlock import SIGNALS_ABI
from doctrain_worker.sandbox.shared.launch import BWRAP_SCRATCH, READS_VARIABLE, SCRATCH_BYTES, Confinement, Held, Launch, own_user_of

WAYS = ("bwrap", "unshare", "rlimit")

_PROBE_SECONDS = 30.0
"""Long: a machine that is busy for a moment must not make a worker choose a weaker way for good."""

_WAYS = {
    "bwrap": "Children run in bubblewrap: no network, no other processes, no files but programs and libraries.",
    "unshare": "Children run in namespaces of their own: no network and no other processes.",
    "rlimit": "Children run without namespaces.",
}


class IsolationUnavailableError(Exception):
    """The way that was asked for does not work on this machine."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """One way to shut children in.

    Args:
        way: one of ``WAYS``.
        prefix: what stands before the child's command line.
        held: what holds beside it.
        reads: files and folders that children see beside programs and libraries.
    """

    way: str
    prefix: tuple[str, ...]
    held: Held
    reads: tuple[str, ...] = ()

    def launch(self, argv: Sequence[str], more: Mapping[str, str], memory_bytes: int) -> Launch:
        """A child that runs ``argv`` shut in, with ``more`` in its environment."""
        wanted, known = [*self.prefix, *argv], environment({**_told(self.reads), **more})
        return Launch(wanted, known, limits(memory_bytes), self.way, self.held.own_user, tree_bytes=memory_bytes)

    @property
    def strong(self) -> bool:
        """Whether a document that takes its child over finds no files, no network and no other process."""
        return self.way == "bwrap" or (self.held.landlock > 0 and self.held.filtered and not self._signals)

    @property
    def _signals(self) -> bool:
        return self.way == "rlimit" and not self.held.own_user and self.held.landlock < SIGNALS_ABI

    def describe(self) -> str:
        """Sentences for an operator: what is in force, what does not hold, and what would be better."""
        better = [] if self.way == "bwrap" else ["Install bubblewrap, or allow user namespaces."]
        return " ".join([_WAYS[self.way], *self._also(), *self._gaps(), *better])

    def _also(self) -> Iterator[str]:
        if self.held.own_user:
            yield "Each runs as a user of its own."
        if self.held.landlock:
            yield f"Landlock (version {self.held.landlock}) leaves them programs, libraries and a scratch folder."
        if self.held.filtered:
            yield "Their system calls are filtered: no sockets, no namespaces, no memory of others."

    def _gaps(self) -> Iterator[str]:
        held = self.held
        if self.way != "bwrap" and not held.landlock:
            yield "They can read what the worker can read."
        if self.way == "rlimit":
            if not held.filtered:
                yield "They can use the network."
            if self._signals:
                yield "They can end the worker's processes."
            yield "A process that they leave outlives a guardian that is killed."
        if os.geteuid() == 0 and not held.own_user:
            yield "They run as root, though without its powers: let other users read the programs."


def choose(wanted: str = "auto", reads: Sequence[str] = ()) -> Isolation:
    """The way asked for, or the strongest that works here; starts some processes to find out (a tenth of a second).

    Args:
        wanted: a way, or ``auto``.
        reads: what children are to read beside programs and libraries, such as a model's folder.

    Raises:
        IsolationUnavailableError: the way asked for does not work, and what to do; or what children are to read cannot be read.
    """
    if wanted not in ("auto", *WAYS):
        raise IsolationUnavailableError(f"There is no sandbox {wanted!r}; choose auto, {', '.join(WAYS[:-1])} or {WAYS[-1]}.")
    unread = next((path for path in reads if not os.access(path, os.R_OK)), None)
    if unread is not None:  # else every way would seem not to work
        raise IsolationUnavailableError(f"Children are to read {unread}, which this user cannot read.")
    for way in WAYS if wanted == "auto" else (wanted,):
        for own_user in (True, False) if os.geteuid() == 0 else (False,):
            found = _tried(way, tuple(reads), own_user=own_user)
            if found is not None:
                return found
    raise IsolationUnavailableError(
        f"The sandbox {wanted!r} does not work on this machine; install bubblewrap and allow user namespaces, or choose auto."
    )


def _tried(way: str, reads: tuple[str, ...], *, own_user: bool) -> Isolation | None:
    prefix = _prefix(way, reads, own_user=own_user)
    if prefix is None:
        return None
    if way == "rlimit" and not own_user:  # starts nothing that could fail: a busy machine must not keep a worker from starting
        return Isolation(way, prefix, Held(own_user=False, landlock=landlock.abi(), filtered=seccomp.supported()), reads)
    with tempfile.TemporaryDirectory() as folder:
        user = own_user_of(os.getpid(), 0) if own_user else 0
        if user:
            try:
                os.chown(folder, user, user)
            except OSError:  # root of a namespace of users in which there is no other
                return None
        plan = Confinement(way, BWRAP_SCRATCH if way == "bwrap" else folder, user, alone=False)
        argv = [*prefix, sys.executable, "-P", "-m", "doctrain_worker.sandbox.child.confinement"]
        answer = _said(argv, {**_told(reads), **plan.variables()})
    return None if answer is None else Isolation(way, prefix, Held(**json.loads(answer)), reads)


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a child: nothing of ours that could hold a secret, one thread for every library."""
    clean = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        "OMP_THREAD_LIMIT": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "RAYON_NUM_THREADS": "1",
        "TOKIO_WORKER_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "ORT_DISABLE_TELEMETRY": "1",
        # Not to grow an arena a thread: the limit on memory is the document's.
        "MALLOC_ARENA_MAX": "2",
    }
    # Where a function of the operator's own is found: folders, no secrets. A child starts in another folder, so in full.
    if folders := [str(Path(folder).absolute()) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]:
        clean["PYTHONPATH"] = os.pathsep.join(folders)
    return {**clean, **(more or {})}


def limits(memory_bytes: int) -> dict[str, int]:
    """Limits (rlimits) by the names of module ``resource``; memory is what a process may allocate, not what it maps of files."""
    wanted = {"RLIMIT_DATA": memory_bytes, "RLIMIT_CORE": 0, "RLIMIT_NOFILE": 256, "RLIMIT_FSIZE": SCRATCH_BYTES}
    return {name: _within_hard(name, value) for name, value in wanted.items()}


def _within_hard(name: str, value: int) -> int:
    hard = resource.getrlimit(getattr(resource, name))[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _prefix(way: str, reads: tuple[str, ...], *, own_user: bool) -> tuple[str, ...] | None:
    """What stands before a child's command line; None when the program for it is not there."""
    if way == "rlimit":
        return ()
    program = shutil.which(way)
    if program is None:
        return None
    return _bwrap(program, reads, own_user=own_user) if way == "bwrap" else _unshare(program)


def _bwrap(program: str, reads: tuple[str, ...], *, own_user: bool) -> tuple[str, ...] | None:
    seen = _said([sys.executable, "-P", "-m", "doctrain_worker.sandbox.child.programs"], _told(reads))
    if seen is None:
        return None
    # Only who is root in the machine's own namespace of users can become any other.
    user = ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID") if own_user else ("--unshare-user",)
    paths = [Path(path) for path in seen.splitlines()]
    above = sorted({parent for path in paths for parent in path.parents[:-1]})  # else they would be for root alone
    binds = [word for path in paths for word in ("--ro-bind", str(path), str(path))]
    binds = [*(word for folder in above for word in ("--dir", str(folder))), *binds]
    return (
        *(program, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "document"),
        *("--die-with-parent", "--cap-drop", "ALL", *user, *binds, "--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"),
        *("--size", str(SCRATCH_BYTES), "--tmpfs", BWRAP_SCRATCH, "--remount-ro", "/", "--chdir", "/", "--"),
    )


def _unshare(program: str) -> tuple[str, ...]:
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return (program, *user, "--pid", "--fork", "--kill-child=SIGKILL", "--net", "--ipc", "--mount-proc", "--")


def _told(reads: Sequence[str]) -> dict[str, str]:
    return {READS_VARIABLE: os.pathsep.join(reads)} if reads else {}


def _said(argv: Sequence[str], more: Mapping[str, str] | None = None) -> str | None:
    """What a process prints that is started as a child is; None when it does not end well."""
    try:
        ended = subprocess.run(  # noqa: S603 - our own command line
            argv, env=environment(more), cwd="/",
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout if ended.returncode == 0 else None
