"""The entry of a child: ``python -m doctrain_worker.sandbox.child FUNCTION [PREPARE]``, each ``package.module:attribute``.

Calls FUNCTION with the task of each frame and answers what it returned, one at a time, until the channel ends. PREPARE
runs once before the first, for imports and models. Nothing here imports gRPC or a database driver.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import importlib
import logging
import os
import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from doctrain_worker.sandbox import frames, process_tree
from doctrain_worker.sandbox.confinement import confine
from doctrain_worker.sandbox.ends import MOST_LETTERS, OutOfMemory, OutOfSpace, Raised, Refused
from doctrain_worker.sandbox.launch import Confinement
from doctrain_worker.sandbox.leftovers import Leftovers
from doctrain_worker.sandbox.memory import CHANNEL_VARIABLE
from doctrain_worker.sandbox.refusal import Refusal

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


def _offer_to_the_oom_killer() -> None:
    """When the machine runs out of memory, the kernel takes this process first, not the worker or the database."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError as error:
        log.debug("oom_score_adj stays as it is: %s", error)


def main(argv: list[str]) -> None:
    """Serves one function until the channel ends."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")  # the main process adds the rest
    faulthandler.enable()
    _offer_to_the_oom_killer()
    process_tree.become_subreaper()  # what a call starts and leaves is found below this process, wherever it went
    plan = Confinement.told(os.environ)
    confine(plan)
    function = load(argv[0])
    if len(argv) > 1:
        load(argv[1])()
    # A main process that died, or cut the call, closed the channel: there is nobody left to answer, and nothing to tell.
    with socket.socket(fileno=int(os.environ[CHANNEL_VARIABLE])) as channel, contextlib.suppress(ConnectionError):
        channel.sendall(frames.pack(frames.Reply(frames.Ready(), 0, left=False)))
        Server(channel, function, Leftovers(plan.scratch, own_file_system=plan.way != "rlimit")).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
