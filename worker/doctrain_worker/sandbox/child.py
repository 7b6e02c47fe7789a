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

from doctrain_worker.sandbox import frames
from doctrain_worker.sandbox.ends import MOST_LETTERS, OutOfMemory, OutOfSpace, Raised, Refused
from doctrain_worker.sandbox.memory import CHANNEL_VARIABLE
from doctrain_worker.sandbox.refusal import Refusal

log = logging.getLogger("doctrain_worker.child")

_NO_SPACE = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def load(reference: str) -> Any:
    """The object behind ``package.module:attribute``."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


def answer(function: Callable[[Any], Any], task: Any) -> frames.Reply:
    """What came of one call, whatever the function raised."""
    end = _end(function, task)
    return frames.Reply(end, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _end(function: Callable[[Any], Any], task: Any) -> frames.Answered | Refused | Raised | OutOfMemory | OutOfSpace:
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


def serve(channel: socket.socket, function: Callable[[Any], Any]) -> None:
    """Answers calls until the main process closes the channel."""
    while (header := _receive(channel, frames.HEADER_BYTES)) is not None:
        body = _receive(channel, int.from_bytes(header, "big"))
        if body is None:
            return
        call = frames.read_call(body)
        channel.sendall(_packed(answer(function, call.task)))


def _packed(reply: frames.Reply) -> bytearray:
    try:
        return frames.pack(reply)
    except MemoryError:
        return frames.pack(frames.Reply(OutOfMemory(), reply.peak_rss_kb))


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
    function = load(argv[0])
    if len(argv) > 1:
        load(argv[1])()
    # A main process that died, or cut the call, closed the channel: there is nobody left to answer, and nothing to tell.
    with socket.socket(fileno=int(os.environ[CHANNEL_VARIABLE])) as channel, contextlib.suppress(ConnectionError):
        channel.sendall(frames.pack(frames.Reply(frames.Ready(), 0)))
        serve(channel, function)


if __name__ == "__main__":
    main(sys.argv[1:])
