"""What a child and all below it write to standard error: passed on to ours, and the end of it kept to tell why it died.

Native code that gets no memory says so there and aborts; the signal is that of any other abort, and the memory that it
had may be far below the limit when it asked for much at once.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket

_KEPT_BYTES = 4096
_READ_BYTES = 1 << 16
_OUT_OF_MEMORY = re.compile(rb"memory allocation of \d+ bytes failed|std::bad_alloc|MemoryError|(?i:out of memory|cannot allocate memory)")


class Stderr:
    """Our end of a child's standard error. Closed by ``close``, or when nobody is left who could write."""

    def __init__(self, source: socket.socket) -> None:
        self._source: socket.socket | None = source
        self._loop = asyncio.get_running_loop()
        self._tail = b""
        source.setblocking(False)
        self._loop.add_reader(source.fileno(), self._read)

    def forget(self) -> None:
        """A call begins: what was written before says nothing about it."""
        self._read_all()
        self._tail = b""

    @property
    def tells_of_no_memory(self) -> bool:
        """Whether an allocation failed, by the words of Python, Rust, C++ or the C library."""
        return _OUT_OF_MEMORY.search(self._tail) is not None

    def close(self) -> None:
        """Takes what is there, and no more."""
        self._read_all()
        if self._source is not None:
            self._loop.remove_reader(self._source.fileno())
            self._source.close()
            self._source = None

    def _read_all(self) -> None:
        for _ in range(_KEPT_BYTES):  # a child that writes for ever does not keep us
            if not self._read():
                return

    def _read(self) -> bool:
        if self._source is None:
            return False
        try:
            written = self._source.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except ConnectionError:
            written = b""
        if not written:
            self._loop.remove_reader(self._source.fileno())
            self._source.close()
            self._source = None
            return False
        self._tail = (self._tail + written)[-_KEPT_BYTES:]
        os.write(2, written)
        return True
