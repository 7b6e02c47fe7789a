"""The folder of an embedded mesh, which one process at a time may use: a lock on a file that says who has it, and where it serves.

The kernel lets go of the lock when its process dies, however it dies, so nothing is left over that a person would have to remove.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from doctrain_mesh.errors import ConfigurationError

LOCK = "lock"
KEYS = "keys.json"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a folder; the address is empty while it starts."""

    pid: int
    address: str

    def describe(self) -> str:
        """For a person."""
        where = f", at {self.address}" if self.address else ""
        return f"doctrain dev (pid {self.pid}) already runs on this folder{where}"


class Held:
    """A folder that is ours until the end of ``held``."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.say("")

    def say(self, address: str) -> None:
        """Tells others where we serve."""
        text = f"{os.getpid()} {address}\n".encode()
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))


@contextmanager
def held(folder: Path) -> Iterator[Held]:
    """Takes the folder; raises ConfigurationError that names who has it."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _taken(_read(descriptor)) from error
        yield Held(descriptor)
    finally:
        os.close(descriptor)


def holder(folder: Path) -> Holder | None:
    """Who has the folder now; None when nobody has, or when there is no such folder."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def check_free(folder: Path) -> None:
    """Raises what ``held`` would, and makes nothing there."""
    if other := holder(folder):
        raise _taken(other)


def kept_keys(folder: Path) -> dict[str, str]:
    """The keys of the folder's mesh; none before its first start."""
    file = folder / KEYS
    kept: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return kept


def _taken(by: Holder) -> ConfigurationError:
    return ConfigurationError(f"{by.describe()}; stop it, or choose another folder with --data.")


def _read(descriptor: int) -> Holder:
    pid, _, address = os.pread(descriptor, 4096, 0).decode("utf-8", "replace").strip().partition(" ")
    return Holder(int(pid) if pid.isdecimal() else 0, address)
