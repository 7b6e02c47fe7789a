"""What a child gives up before it loads anything that reads documents: for itself, for all that it starts, and for good.

``python -P -m doctrain_worker.sandbox.child.confinement`` does it and prints what holds on this machine, for ``isolation.choose``; it
ends with status 1 when what it must see cannot be read any more after it, or the scratch folder not be written to. Standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import struct
import sys
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path

from doctrain_worker.sandbox.child import programs
from doctrain_worker.sandbox.shared import landlock, process_tree, seccomp
from doctrain_worker.sandbox.shared.launch import MOST_FILES, MOST_PROCESSES, SCRATCH_BYTES, Confinement, Held

_MOST_TASKS = 4 * MOST_PROCESSES
"""Threads count, too."""
_SPARE_TASKS = 1024
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3 = 0x2008_0522
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_KERNEL = ("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu", "/sys/bus/pci/devices")
"""What the machine is: libraries ask, and complain when they are not told."""
_RANDOM = ("/dev/urandom", "/dev/random", "/dev/zero")

_libc = ctypes.CDLL(None, use_errno=True)


def confine(plan: Confinement) -> Held:
    """Gives everything up that the plan says and this machine can hold. Raises OSError."""
    os.umask(0o077)
    if plan.way == "unshare":
        _mount_scratch(plan.scratch)
    if plan.user:
        _become(plan)
    _drop_capabilities()
    process_tree.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _limit_tasks(alone=plan.alone)
    version = landlock.abi()
    if version:
        seen = [*programs.seen(), *_KERNEL, *_RANDOM, "/proc/self" if plan.way == "rlimit" else "/proc"]
        landlock.restrict([path for path in seen if os.access(path, os.R_OK)], [plan.scratch, "/dev/null"])
    filtered = seccomp.supported()
    if filtered:
        seccomp.deny()
    return Held(bool(plan.user), version, filtered)


def _mount_scratch(folder: str) -> None:
    """Puts an empty folder in memory over this one, in a mount namespace of our own."""
    options = f"size={SCRATCH_BYTES},nr_inodes={MOST_FILES},mode=1777"
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    if _libc.mount(b"tmpfs", folder.encode(), b"tmpfs", flags, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"{folder} cannot be mounted: {os.strerror(ctypes.get_errno())}")


def _become(plan: Confinement) -> None:
    if plan.way == "bwrap":
        Path(plan.scratch).chmod(0o1777)  # nobody else is there
    user, parent = plan.user, os.getppid()
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    process_tree.prctl(_PR_SET_DUMPABLE, 1)  # else what is in /proc of ourselves is not ours
    process_tree.die_with_parent(parent)  # another user does so no more


def _drop_capabilities() -> None:
    number = _CAPSET.get(os.uname().machine)
    if number is None:
        return
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    if _libc.syscall(number, header, struct.pack("6I", *[0] * 6)) != 0:
        raise OSError(ctypes.get_errno(), f"The capabilities stay: {os.strerror(ctypes.get_errno())}")


def _limit_tasks(*, alone: bool) -> None:
    """A fork bomb finds an end before anybody looks. It binds all but root, so it is the guardian that looks in any case."""
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    wanted = _MOST_TASKS if alone else int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2]) + _SPARE_TASKS
    if hard != resource.RLIM_INFINITY and hard <= wanted:
        return
    resource.setrlimit(resource.RLIMIT_NPROC, (wanted, hard))
    thread = threading.Thread(target=int)
    try:
        thread.start()
    except RuntimeError:  # before Linux 5.14, others count all the same
        resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
    else:
        thread.join()
        resource.setrlimit(resource.RLIMIT_NPROC, (wanted, wanted))


def main() -> int:
    """Confines this process, and says what holds."""
    plan = Confinement.told(os.environ)
    held = confine(plan)
    try:
        for path in (__file__, os.__file__, sys.executable, *programs.told()):
            os.close(os.open(path, os.O_RDONLY))
        with tempfile.TemporaryFile(dir=plan.scratch):
            pass
    except OSError:
        return 1
    print(json.dumps(asdict(held)))  # noqa: T201 - the answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
