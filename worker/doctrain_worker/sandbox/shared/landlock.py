"""Landlock: a process gives up files, foreign processes and TCP, for itself and for all that it starts, for good.

Needs no privilege and no namespace, so it holds in containers too; Linux 5.13, and 6.12 for signals. It binds the thread that
calls and what that starts, so it comes before any other thread. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15
_OF_FILES_BY_ABI = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
"""All rights on files: those of the first version, to link, to truncate, and to control devices."""
_TCP = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11
SIGNALS_ABI = 6
"""From this version on signals reach nobody outside."""

_libc = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """The version that this kernel has; 0: none."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION))))


def restrict(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Leaves these files and what is below them, to read and execute or for everything. Raises OSError. Needs no_new_privs."""
    version = abi()
    rights = sum(right for since, right in _OF_FILES_BY_ABI if since <= version)
    attributes = struct.pack("QQQ", rights, _TCP, _ABSTRACT_SOCKETS_AND_SIGNALS)
    size = 24 if version >= SIGNALS_ABI else 16 if version >= 4 else 8
    ruleset = _checked(_libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint(0)))
    try:
        for paths, allowed in ((readable, _READ), (writable, rights)):
            for path in paths:
                _allow(ruleset, path, allowed)
        _checked(_libc.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0)))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    below = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(below).st_mode):
            rights &= _ON_FILES
        rule = struct.pack("=Qi", rights, below)
        _checked(_libc.syscall(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint(0)))
    finally:
        os.close(below)


def _checked(answer: int) -> int:
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return answer
