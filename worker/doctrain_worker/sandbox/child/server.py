"""A child's end of its channel: it calls one function with the task of each frame and answers what came of it."""

from __future__ import annotations

import errno
import importlib
import logging
import resource
import socket
from collections.abc import Callable
from typing import Any

from doctrain_worker.sandbox.child.leftovers import Leftovers
from doctrain_worker.sandbox.child.refusal import Refusal
from doctrain_worker.sandbox.shared import frames
from doctrain_worker.sandbox.shared.ends import MOST_LETTERS, OutOfMemory, OutOfSpace, Raised, Refused

log = logging.getLogger("doctrain_worker.child")

_NO_SPACE = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def load(reference: str) -> Any:
    """The object behind ``package.module:attribute``."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


class Server:
    """Answers calls, one at a time.

    Args:
        channel: to the main process.
        function: what is called.
        leftovers: what a call left.
    """

    def __init__(self, channel: socket.socket, function: Callable[[Any], Any], leftovers: Leftovers) -> None:
        self._channel, self._function, self._leftovers = channel, function, leftovers

    def serve(self) -> None:
        """Answers until the main process closes the channel."""
        while (header := _receive(self._channel, frames.HEADER_BYTES)) is not None:
            body = _receive(self._channel, int.from_bytes(header, "big"))
            if body is None:
                return
            self._channel.sendall(self._reply(_end(self._function, frames.read_call(body).task)))

    def _reply(self, end: frames.End) -> bytearray:
        peak_rss_kb, left = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, self._leftovers.any()
        try:
            return frames.pack(frames.Reply(end, peak_rss_kb, left))
        except MemoryError:
            return frames.pack(frames.Reply(OutOfMemory(), peak_rss_kb, left))


def _end(function: Callable[[Any], Any], task: Any) -> frames.End:
    """What came of one call, whatever the function raised."""
    try:
        return frames.answered(function(task))
    except Refusal as refusal:
        return Refused(refusal.code[:MOST_LETTERS], refusal.sentence[:MOST_LETTERS], refusal.resource)
    except MemoryError:
        return OutOfMemory()
    except Exception as error:  # told as it is; the caller decides what it means for the document
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            return OutOfSpace()
        log.warning("%s raised %s", getattr(function, "__qualname__", function), type(error).__name__, exc_info=True)
        return Raised(type(error).__name__[:MOST_LETTERS], str(error)[:MOST_LETTERS])


def _receive(channel: socket.socket, size: int) -> bytearray | None:
    """Exactly ``size`` bytes, or None when the channel ended before."""
    buffer = bytearray(size)
    view = memoryview(buffer)
    filled = 0
    while filled < size:
        count = channel.recv_into(view[filled:])
        if count == 0:
            return None
        filled += count
    return buffer
