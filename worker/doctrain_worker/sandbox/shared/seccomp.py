"""A filter of system calls that a process sets on itself, and on all that it starts, for good.

It denies what reads no document and what no other limit reaches: sockets, the memory and limits of other processes, memory that belongs
to no process, namespaces, and the parts of the kernel where most of its holes were found. Needs no privilege. It binds the
thread that calls and what that starts, so it comes before any other thread. Standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_DENIED = {
    "x86_64": {
        "socket": 41, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "process_madvise": 440, "kcmp": 312,
        "pidfd_getfd": 438, "memfd_create": 319, "memfd_secret": 447, "shmget": 29, "msgget": 68, "semget": 64, "mq_open": 240,
        "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155,
        "open_tree": 428, "move_mount": 429, "fsopen": 430, "fspick": 433, "mount_setattr": 442, "open_by_handle_at": 304,
        "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425,
    },
    "aarch64": {
        "socket": 198, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "process_madvise": 440, "kcmp": 272,
        "pidfd_getfd": 438, "memfd_create": 279, "memfd_secret": 447, "shmget": 194, "msgget": 186, "semget": 190, "mq_open": 180,
        "add_key": 217, "request_key": 218, "keyctl": 219, "unshare": 97, "setns": 268, "mount": 40, "umount2": 39, "pivot_root": 41,
        "open_tree": 428, "move_mount": 429, "fsopen": 430, "fspick": 433, "mount_setattr": 442, "open_by_handle_at": 265,
        "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "io_uring_setup": 425,
    },
}  # fmt: skip
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_CLONE = {"x86_64": 56, "aarch64": 220}
_PRCTL = {"x86_64": 157, "aarch64": 167}
_KEPT = (1, 4, 36)
"""Attributes that stay as they were set: to die with the parent, to be looked at by it, to be the parent of orphans."""
_PRLIMIT64 = {"x86_64": 302, "aarch64": 261}
_CLONE3 = 435

_NEW_NAMESPACES = 0x7E02_0000
_X32 = 0x4000_0000
_SET_MODE_FILTER, _SPEC_ALLOW = 1, 1 << 2

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _ERRNO, _KILL = 0x7FFF_0000, 0x0005_0000, 0x8000_0000

_libc = ctypes.CDLL(None, use_errno=True)


def supported() -> bool:
    """Whether this machine has a filter: the kernel's part, and the numbers of its calls."""
    return os.uname().machine in _DENIED and _libc.prctl(21, 0, 0, 0, 0) >= 0


def deny() -> None:
    """Sets the filter. Raises OSError. Needs no_new_privs."""
    content = ctypes.create_string_buffer(program(os.uname().machine))
    filter_ = struct.pack("HxxxxxxP", (len(content) - 1) // 8, ctypes.addressof(content))
    number = _SECCOMP[os.uname().machine]
    if _libc.syscall(number, ctypes.c_uint(_SET_MODE_FILTER), ctypes.c_uint(_SPEC_ALLOW), filter_) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"seccomp: {os.strerror(code)}")


def program(machine: str) -> bytes:
    """The filter for a kind of machine, as the kernel takes it."""
    steps = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, _AUDIT_ARCH[machine], 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        steps += [_step(_AT_LEAST, _X32, 0, 1), _refused(errno.ENOSYS)]
    steps += [_step(_EQUAL, _CLONE3, 0, 1), _refused(errno.ENOSYS)]  # its flags are in memory; the C library then takes clone
    for number in _DENIED[machine].values():
        steps += [_step(_EQUAL, number, 0, 1), _refused(errno.EPERM)]
    steps += [_step(_EQUAL, _PRCTL[machine], 0, 2 + 2 * len(_KEPT)), _step(_LOAD, _FIRST_ARGUMENT)]
    for attribute in _KEPT:
        steps += [_step(_EQUAL, attribute, 0, 1), _refused(errno.EPERM)]
    steps += [_step(_RETURN, _ALLOW)]
    steps += [_step(_EQUAL, _CLONE[machine], 0, 4), _step(_LOAD, _FIRST_ARGUMENT)]
    steps += [_step(_ANY_BIT, _NEW_NAMESPACES, 0, 1), _refused(errno.EPERM), _step(_RETURN, _ALLOW)]
    steps += [_step(_EQUAL, _PRLIMIT64[machine], 0, 3), _step(_LOAD, _FIRST_ARGUMENT)]
    steps += [_step(_EQUAL, 0, 1, 0), _refused(errno.EPERM)]
    steps += [_step(_RETURN, _ALLOW)]
    return b"".join(steps)


def _step(code: int, value: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, jump_true, jump_false, value)


def _refused(code: int) -> bytes:
    return _step(_RETURN, _ERRNO | code)
