"""What a document that took its child over would try, for tests of the sandbox. Each answers what it achieved."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_PTRACE_SEIZE = 0x4206
_MIB = 1 << 20
NAME = secrets.token_hex(8)


def act(task: dict[str, Any]) -> Any:
    """Does what ``task["do"]`` names, with ``task`` as its argument."""
    return globals()[task["do"]](task)


def echo(task: dict[str, Any]) -> Any:
    return task["value"]


def named(_task: dict[str, Any]) -> str:
    """A name that no other child has."""
    return NAME


def _sleeper(mark: str) -> None:
    os.execv(sys.executable, [sys.executable, "-S", "-E", "-c", "import time; time.sleep(600)", mark])


def bomb(task: dict[str, Any]) -> None:
    """Forks as fast as it can, in every process that there is, up to ``most`` of them."""
    count = mmap.mmap(-1, 8)
    while int.from_bytes(count[:8], "little") < task["most"]:
        with contextlib.suppress(OSError):
            if os.fork() == 0:
                count[:8] = (int.from_bytes(count[:8], "little") + 1).to_bytes(8, "little")
    time.sleep(600)


def daemon(task: dict[str, Any]) -> None:
    """Leaves a process with no parent, in a session of its own, that closed all it had."""
    told, tell = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(tell, b"!")
            os.closerange(0, 256)
            _sleeper(task["mark"])
        os._exit(0)
    os.wait()
    os.read(told, 1)


def spread(task: dict[str, Any]) -> None:
    """Takes memory in ten processes, none of which has much."""
    for _ in range(10):
        if os.fork() == 0:
            kept = bytearray(task["bytes"] // 10)  # of zeros that are written, as calloc's are not
            kept[:] = b"x" * len(kept)
            time.sleep(600)
    time.sleep(600)


def inherit(task: dict[str, Any]) -> str:
    """Five processes that have the same memory, for a while."""
    kept = b"x" * task["bytes"]
    for _ in range(5):
        if os.fork() == 0:
            time.sleep(task["seconds"])
            os._exit(len(kept) % 2)
    for _ in range(5):
        os.wait()
    return "well"


def share(task: dict[str, Any]) -> None:
    """Takes memory that is nobody's heap."""
    with mmap.mmap(-1, task["bytes"]) as kept:
        for place in range(0, task["bytes"], _MIB):
            kept[place : place + _MIB] = b"x" * _MIB
        time.sleep(600)


def hidden_memory(_task: dict[str, Any]) -> list[str]:
    """Ways to hold memory that no process has."""
    tries: dict[str, Callable[[], object]] = {
        "memfd": lambda: os.memfd_create("x"),
        "shm": lambda: _libc.shmctl(_checked(_libc.shmget(0, _MIB, 0o1600)), 0, None),
        "/dev/shm": lambda: tempfile.TemporaryFile(dir="/dev/shm").close(),
    }
    return _achieved(tries)


def many_files(task: dict[str, Any]) -> None:
    folder = Path(tempfile.mkdtemp())
    for number in range(task["count"]):
        (folder / str(number)).touch()
    time.sleep(600)


def deep_folders(_task: dict[str, Any]) -> None:
    """Folders in folders, past what a path can name, the last ones closed to others."""
    _descend(1500)
    time.sleep(600)


def leave_file(_task: dict[str, Any]) -> str:
    descriptor, path = tempfile.mkstemp()
    os.close(descriptor)
    return path


def leave_deep_folders(_task: dict[str, Any]) -> None:
    _descend(20)
    os.chdir("/")


def leave_open_file(_task: dict[str, Any]) -> int:
    descriptor, path = tempfile.mkstemp()
    os.write(descriptor, bytes(_MIB))
    Path(path).unlink()
    return descriptor


def scratch(_task: dict[str, Any]) -> list[str]:
    """What is in the scratch folder, removed files that take room included."""
    usage = os.statvfs(tempfile.gettempdir())
    unseen = ["removed"] if os.path.ismount(tempfile.gettempdir()) and usage.f_bfree < usage.f_blocks else []
    return [*os.listdir(tempfile.gettempdir()), *unseen]  # noqa: PTH208 - names only


def sockets(_task: dict[str, Any]) -> list[str]:
    families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET, socket.AF_VSOCK)
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW)
    return _achieved({f"{family!r} {kind!r}": partial(socket.socket, family, kind) for family in families for kind in kinds})


def reach_into(task: dict[str, Any]) -> list[str]:
    """What can be done to another process, and read of it."""
    pid = task["pid"]
    part = ctypes.create_string_buffer(8)
    here, nowhere = (ctypes.c_void_p * 2)(ctypes.addressof(part), 8), (ctypes.c_void_p * 2)(8, 8)
    tries: dict[str, Callable[[], object]] = {
        "ptrace": lambda: _checked(_libc.ptrace(_PTRACE_SEIZE, pid, 0, 0)),
        "process_vm_readv": lambda: _checked(_libc.process_vm_readv(pid, here, 1, nowhere, 1, 0), fine=errno.EFAULT),
        "signal": lambda: os.kill(pid, 0),
        "pidfd": lambda: signal.pidfd_send_signal(os.pidfd_open(pid), 0),
        "limits": lambda: resource.prlimit(pid, resource.RLIMIT_CORE),
        **{name: partial(_opened, f"/proc/{pid}/{name}") for name in ("environ", "cmdline", "maps", "mem", "auxv")},
        **{name: partial(os.listdir, f"/proc/{pid}/{name}") for name in ("fd", "cwd", "root", "task")},
    }
    return _achieved(tries)


def processes(_task: dict[str, Any]) -> int:
    """How many processes there are to be seen."""
    try:
        return sum(entry.name.isdigit() for entry in Path("/proc").iterdir())
    except PermissionError:
        return 0


def privileges(_task: dict[str, Any]) -> list[str]:
    tries: dict[str, Callable[[], object]] = {
        "user namespace": lambda: _checked(_libc.unshare(0x1000_0000)),
        "mount": lambda: _checked(_libc.mount(b"none", tempfile.mkdtemp().encode(), b"tmpfs", 0, None)),
        "other user": lambda: os.setuid(os.getuid() + 1),
        "device": lambda: os.mknod(tempfile.mktemp(), 0o060600, os.makedev(8, 0)),
        "chroot": lambda: os.chroot(tempfile.gettempdir()),
        "io_uring": lambda: _checked(_libc.syscall(425, 8, ctypes.create_string_buffer(256))),
        "bpf": lambda: _checked(_libc.syscall(321, 0, ctypes.create_string_buffer(256), 128)),
        "keys": lambda: _checked(_libc.syscall(250, 0, -3, 1)),
        "set-uid": lambda: subprocess.run(["su", "-c", "true"], check=True, stdin=subprocess.DEVNULL),
    }
    return _achieved(tries)


def write_elsewhere(task: dict[str, Any]) -> list[str]:
    """Folders outside the scratch that can be written to."""
    folders = ["/", "/dev", "/dev/shm", "/tmp", "/var/tmp", "/run", "/proc/self", sys.prefix, *task["folders"]]
    return _achieved({folder: partial(tempfile.mkstemp, dir=folder) for folder in folders})


def descriptors(_task: dict[str, Any]) -> list[int]:
    """The open descriptors, but for the one that is looked with."""
    found = []
    for number in range(1024):
        with contextlib.suppress(OSError):
            os.fstat(number)
            found.append(number)
    return found


def write_descriptors(_task: dict[str, Any]) -> None:
    """Writes to whatever it was given, then waits."""
    for number in range(3, 1024):
        with contextlib.suppress(OSError):
            os.write(number, b"\x00\x00\x00\x02hi")
    time.sleep(600)


def _descend(depth: int) -> None:
    os.chdir(tempfile.mkdtemp())
    for _ in range(depth):
        Path("d" * 200).mkdir()
        os.chdir("d" * 200)
    Path("file").touch()
    Path().chmod(0)


def _opened(path: str) -> None:
    with Path(path).open("rb"):
        return


def _checked(answer: int, fine: int = 0) -> int:
    if answer < 0 and ctypes.get_errno() != fine:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer


def _achieved(tries: dict[str, Callable[[], object]]) -> list[str]:
    found = []
    for name, attempt in tries.items():
        try:
            attempt()
        except (OSError, subprocess.SubprocessError):
            continue
        found.append(name)
    return found
