"""What a child prints, native libraries and Python's own last words included, as lines of our log that say which child and trace."""

from __future__ import annotations

import asyncio
import logging
import socket

from doctrain_mesh.telemetry import trace_id_of

log = logging.getLogger(__name__)
LONGEST_LINE = 500
MOST_LINES = 60
"""Of one call: a document that took its child over could fill the log."""

_PIECE_BYTES = 1 << 16


class ChildOutput:
    """Reads a child's standard output and error until both have ended.

    Before the child is ready its words are warnings, as they tell why it does not start. Later they belong to a document,
    whose failure is recorded with a sentence of its own: they are there for who looks for more.
    """

    def __init__(self, output: socket.socket, pid: int) -> None:
        self._output, self._pid = output, pid
        self._rest = b""
        self._left = MOST_LINES
        self._trace = ""
        self._level = logging.WARNING
        self._loop = asyncio.get_running_loop()
        output.setblocking(False)
        self._loop.add_reader(output.fileno(), self._on_readable)

    def call(self, traceparent: str) -> None:
        """What is printed from now on belongs to this call."""
        self._trace = trace_id_of(traceparent)
        self._left, self._level = MOST_LINES, logging.INFO

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
