"""How children are shut in: what a document that took one over could still see and do.

Three ways, the strongest that works here unless one is asked for: ``bwrap`` (bubblewrap: no network, no other process,
of the files only the programs and libraries), ``unshare`` (no network, no other process; all files that our user may
read) and ``rlimit`` (limits on memory, files and core dumps only). All get a clean environment and the same limits.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

WAYS = ("bwrap", "unshare", "rlimit")

SCRATCH_BYTES = 256 << 20
"""What a child may write: its scratch folder as a whole in bubblewrap, one file elsewhere."""

_PROBE_SECONDS = 30.0
"""Long: a machine that is busy for a moment must not make a worker choose a weaker way for good."""
_SENTENCES = {
    "bwrap": "Children run in bubblewrap: no network, no other processes, no files but programs and libraries.",
    "unshare": "Children run in namespaces of their own: no network and no other processes, but they can read files. Install bubblewrap.",
    "rlimit": "Children have limits on memory only: they can read files, use the network, and an orphan of theirs outlives "
    "a guardian that is killed. Install bubblewrap, or allow user namespaces.",
}


class IsolationUnavailableError(Exception):
    """The way that was asked for does not work on this machine."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """One way to shut children in.

    Args:
        way: one of ``WAYS``.
        prefix: what stands before the child's command line.
    """

    way: str
    prefix: tuple[str, ...]

    def wrap(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs ``argv`` shut in."""
        return [*self.prefix, *argv]

    def describe(self) -> str:
        """A sentence for an operator: what is in force, and what would be better."""
        return _SENTENCES[self.way]


def choose(wanted: str = "auto") -> Isolation:
    """The way asked for, or the strongest that works here; starts a process or two to find out (50 ms).

    Raises:
        IsolationUnavailableError: the way asked for does not work, and what to do.
    """
    if wanted not in ("auto", *WAYS):
        raise IsolationUnavailableError(f"There is no sandbox {wanted!r}; choose auto, {', '.join(WAYS[:-1])} or {WAYS[-1]}.")
    for way in WAYS if wanted == "auto" else (wanted,):
        prefix = _PREFIXES[way]()
        # Limits alone start nothing that could fail, and a busy machine must not keep a worker from starting.
        if prefix is not None and (not prefix or _works(prefix)):
            return Isolation(way, prefix)
    raise IsolationUnavailableError(
        f"The sandbox {wanted!r} does not work on this machine; install bubblewrap and allow user namespaces, or choose auto."
    )


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a child: nothing of ours that could hold a secret, one thread for every library."""
    clean = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/tmp",  # noqa: S108 - a folder of the child's own in bwrap
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        "OMP_THREAD_LIMIT": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "RAYON_NUM_THREADS": "1",
        "TOKIO_WORKER_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # Not to grow an arena a thread: the limit on memory is the document's.
        "MALLOC_ARENA_MAX": "2",
    }
    # Where a function of the operator's own is found: folders, no secrets. A child starts in another folder, so in full.
    if folders := [str(Path(folder).absolute()) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]:
        clean["PYTHONPATH"] = os.pathsep.join(folders)
    return {**clean, **(extra or {})}


def limits(memory_bytes: int) -> dict[str, int]:
    """Limits (rlimits) by the names of module ``resource``; memory is what a process may allocate, not what it maps of files."""
    wanted = {"RLIMIT_DATA": memory_bytes, "RLIMIT_CORE": 0, "RLIMIT_NOFILE": 256, "RLIMIT_FSIZE": SCRATCH_BYTES}
    return {name: _within_hard(name, value) for name, value in wanted.items()}


def _within_hard(name: str, value: int) -> int:
    hard = resource.getrlimit(getattr(resource, name))[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _bwrap() -> tuple[str, ...] | None:
    program = shutil.which("bwrap")
    seen = _seen() if program is not None else []
    if program is None or not seen:
        return None
    binds = [word for path in seen for word in ("--ro-bind", path, path)]
    return (
        *(program, "--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--hostname", "document"),
        *("--size", str(SCRATCH_BYTES), "--tmpfs", "/tmp", *binds, "--proc", "/proc", "--dev", "/dev", "--chdir", "/", "--"),  # noqa: S108 - inside
    )


def _seen() -> list[str]:
    """What ``programs`` says in an interpreter that is started as a child is; nothing when none starts."""
    answer = _tried(["-P", "-m", "doctrain_worker.sandbox.programs"], ())
    return answer.splitlines() if answer is not None else []


def _unshare() -> tuple[str, ...] | None:
    program = shutil.which("unshare")
    if program is None:
        return None
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return (program, *user, "--pid", "--fork", "--kill-child=SIGKILL", "--net", "--ipc", "--mount-proc", "--")


def _works(prefix: Sequence[str]) -> bool:
    return _tried(["-S", "-E", "-c", "pass"], prefix) is not None


def _tried(arguments: Sequence[str], prefix: Sequence[str]) -> str | None:
    """What an interpreter prints that is started as a child is; None when it does not end well."""
    try:
        ended = subprocess.run(  # noqa: S603 - our own command line
            [*prefix, sys.executable, *arguments], env=environment(), cwd="/",
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout if ended.returncode == 0 else None


_PREFIXES: dict[str, Callable[[], tuple[str, ...] | None]] = {"bwrap": _bwrap, "unshare": _unshare, "rlimit": tuple}
