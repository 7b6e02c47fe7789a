"""What ends a command from without, and shows no traceback.

Ctrl-C: the first one ends a command in order, another one ends the process at once. A reader of the output that has seen enough.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

INTERRUPTED, UNREAD = 130, 141
"""128 and the number of the signal that ends programs so: SIGINT, SIGPIPE."""
Result = TypeVar("Result")


@contextmanager
def quietly() -> Iterator[None]:
    """Within, Ctrl-C ends the process where nothing else was said of it: while it starts there is nothing to end in order."""
    if not _are_heeded():
        yield
        return
    before = signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _leave:
            signal.signal(signal.SIGINT, before)


def ignore() -> None:
    """From now on Ctrl-C does nothing: all has ended in order but the process, which is about to."""
    if _are_heeded():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def leave_unread() -> NoReturn:
    """Ends the process because nobody reads its output; what is still to be written goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    sys.exit(UNREAD)


async def interruptible(work: Coroutine[Any, Any, Result], hint: Callable[[], str]) -> Result:
    """The result of ``work``, which the first Ctrl-C cancels. Whoever cannot wait for its end is told the ``hint``."""
    import asyncio

    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    if not _are_heeded():
        return await work

    def pressed(*_: object) -> None:
        if task.cancelling():
            os.write(sys.stderr.fileno(), f"\n{hint()}\n".encode())  # what is interrupted may be a print
            _leave()
        task.cancel()
        loop.call_soon_threadsafe(lambda: None)  # wakes it

    before = signal.signal(signal.SIGINT, pressed)
    try:
        return await work
    finally:
        if not task.cancelling():
            signal.signal(signal.SIGINT, before)


def _leave(*_: object) -> None:
    os._exit(INTERRUPTED)


def _are_heeded() -> bool:
    """Whether Ctrl-C is this thread's to heed, and whoever started the process has not switched it off."""
    return threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None)
