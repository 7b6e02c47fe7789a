"""What a child prints, native libraries and Python's own last words included, as lines of our log that say which child and trace.

A child may write faster than anyone reads: each turn of the event loop takes one piece, so that timers and heartbeats have
theirs, and a call that prints more than MOST_BYTES costs its child.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Callable

from doctrain_mesh.observability.telemetry import trace_id_of

log = logging.getLogger(__name__)
LONGEST_LINE = 500
MOST_LINES = 60
"""Of one call: a document that took its child over could fill the log."""
MOST_BYTES = 16 << 20
"""Of one call: to read and forget more would cost the worker more than the call is worth."""

_PIECE_BYTES = 1 << 16
_PIECES_AT_ONCE = 8
"""More than the socket holds."""
_KEPT_BYTES = 4096
_NO_MEMORY = re.compile(rb"memory allocation of \d+ bytes failed|std::bad_alloc|MemoryError|(?i:out of memory|cannot allocate memory)")


class ChildOutput:
    """Reads a child's standard output and error until both have ended.

    Before the child is ready its words are warnings, as they tell why it does not start. Later they belong to a document,
    whose failure is recorded with a sentence of its own: they are there for who looks for more.

    Args:
        output: where it prints to.
        pid: its process.
        flooded: called when a call has printed more than MOST_BYTES; it is to end the child.
    """

    def __init__(self, output: socket.socket, pid: int, flooded: Callable[[], None]) -> None:
        self._output, self._pid, self._flooded = output, pid, flooded
        self._rest = self._tail = b""
        self._lines_left, self._bytes_left = MOST_LINES, MOST_BYTES
        self._trace = ""
        self._level = logging.WARNING
        self._loop = asyncio.get_running_loop()
        output.setblocking(False)
        self._loop.add_reader(output.fileno(), self._take_piece)

    def call(self, traceparent: str) -> None:
        """What is printed from now on belongs to this call."""
        self._take_pieces()
        self._tail = b""
        self._trace = trace_id_of(traceparent)
        self._lines_left, self._bytes_left, self._level = MOST_LINES, MOST_BYTES, logging.INFO

    @property
    def tells_of_no_memory(self) -> bool:
        """Whether an allocation failed in this call, by the last words of Rust, C++, Python or the C library.

        Nothing else tells: the limit is on what a process allocates, of which it may use little, and the signal is that of any abort.
        """
        return _NO_MEMORY.search(self._tail) is not None

    def close(self) -> None:
        """Reads what is there; later words of processes that outlive their call are nobody's."""
        self._take_pieces()
        self._end()

    def _take_pieces(self) -> None:
        for _ in range(_PIECES_AT_ONCE):
            if self._output.fileno() < 0 or not self._take_piece():
                return

    def _take_piece(self) -> bool:
        try:
            piece = self._output.recv(_PIECE_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            piece = b""
        if not piece:
            self._end()
            return False
        self._tail = (self._tail + piece)[-_KEPT_BYTES:]
        if self._lines_left >= 0:
            *lines, self._rest = (self._rest + piece).split(b"\n", MOST_LINES + 1)
            for line in lines:
                self._tell(line)
            self._rest = self._rest[:LONGEST_LINE] if self._lines_left >= 0 else b""
        within = self._bytes_left >= 0
        self._bytes_left -= len(piece)
        if within and self._bytes_left < 0:
            self._flooded()
        return True

    def _tell(self, line: bytes) -> None:
        self._lines_left -= 1
        if self._lines_left < -1:
            return
        text = line[:LONGEST_LINE].decode("utf-8", "replace").rstrip() if self._lines_left >= 0 else "says more than is kept here"
        if text:
            of = f"child {self._pid}, trace {self._trace}" if self._trace else f"child {self._pid}"
            log.log(self._level, "%s: %s", of, text)

    def _end(self) -> None:
        if self._output.fileno() < 0:
            return
        self._loop.remove_reader(self._output.fileno())
        self._output.close()
        if self._rest:
            self._tell(self._rest)
