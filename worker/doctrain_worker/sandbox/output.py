"""What a child prints, native libraries and Python's own last words included, as lines of our log that say which child and trace."""

from __future__ import annotations

import asyncio
import logging
import re
import socket

from doctrain_mesh.telemetry import trace_id_of

log = logging.getLogger(__name__)
LONGEST_LINE = 500
MOST_LINES = 60
"""Of one call: a document that took its child over could fill the log."""

_PIECE_BYTES = 1 << 16
_KEPT_BYTES = 4096
_NO_MEMORY = re.compile(rb"memory allocation of \d+ bytes failed|std::bad_alloc|MemoryError|(?i:out of memory|cannot allocate memory)")


class ChildOutput:
    """Reads a child's standard output and error until both have ended.

    Before the child is ready its words are warnings, as they tell why it does not start. Later they belong to a document,
    whose failure is recorded with a sentence of its own: they are there for who looks for more.
    """

    def __init__(self, output: socket.socket, pid: int) -> None:
        self._output, self._pid = output, pid
        self._rest = self._tail = b""
        self._left = MOST_LINES
        self._trace = ""
        self._level = logging.WARNING
        self._loop = asyncio.get_running_loop()
        output.setblocking(False)
        self._loop.add_reader(output.fileno(), self._on_readable)

    def call(self, traceparent: str) -> None:
        """What is printed from now on belongs to this call."""
        if self._output.fileno() >= 0:
            self._on_readable()
        self._tail = b""
        self._trace = trace_id_of(traceparent)
        self._left, self._level = MOST_LINES, logging.INFO

    @property
    def tells_of_no_memory(self) -> bool:
        """Whether an allocation failed in this call, by the last words of Rust, C++, Python or the C library.

        Nothing else tells: the limit is on what a process allocates, of which it may use little, and the signal is that of any abort.
        """
        return _NO_MEMORY.search(self._tail) is not None

    def close(self) -> None:
        """Reads what is there; later words of processes that outlive their call are nobody's."""
        if self._output.fileno() >= 0:
            self._on_readable()
        self._end()

    def _on_readable(self) -> None:
        while True:
            try:
                piece = self._output.recv(_PIECE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                piece = b""
            if not piece:
                self._end()
                return
            self._tail = (self._tail + piece)[-_KEPT_BYTES:]
            *lines, self._rest = (self._rest + piece).split(b"\n")
            self._rest = self._rest[:LONGEST_LINE]
            for line in lines:
                self._tell(line)

    def _tell(self, line: bytes) -> None:
        text = line[:LONGEST_LINE].decode("utf-8", "replace").rstrip()
        if not text or self._left < 0:
            return
        self._left -= 1
        of = f"child {self._pid}, trace {self._trace}" if self._trace else f"child {self._pid}"
        log.log(self._level, "%s: %s", of, text if self._left >= 0 else "says more than is kept here")

    def _end(self) -> None:
        if self._output.fileno() < 0:
            return
        self._loop.remove_reader(self._output.fileno())
        self._output.close()
        self._tell(self._rest)
