"""The few words that a worker's main process and its guardian share in memory.

They stay readable while either of them is frozen or dead, which no socket does: the guardian goes by the deadline of a
main process that does not run, and the next main process learns which session the last one had. Standard library only.

Each word is eight bytes, aligned, written by one side and read by the other, so a reader sees the old or the new value. Only
between two main processes, when there is nobody else, the guardian writes those of the main process. Secrets are longer: they are
read only then, or by the main process that comes next.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass, field

GUARDIAN_VARIABLE = "_DOCTRAIN_GUARDIAN"
"""Tells a main process that a guardian started it: the descriptors ``SOCKET,MEMORY``."""

_SELF_FENCED = 1 << 63
"""In the word of the session: it fenced itself, so nobody is to blame for its end."""

_WORDS = 6
_DEADLINE, _SESSION, _TAKEN, _EPOCH, _POLLED, _PREDECESSOR = range(_WORDS)
_SECRET_BYTES = 16
_SECRET = slice(_WORDS * 8, _WORDS * 8 + _SECRET_BYTES)
_PREDECESSORS_SECRET = slice(_SECRET.stop, _SECRET.stop + _SECRET_BYTES)
_SIZE = _PREDECESSORS_SECRET.stop


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The session of the main process before this one, all of whose children are dead; ``session`` 0: there was none."""

    session: int
    self_fenced: bool
    secret: bytes = field(default=b"", repr=False)


class FenceMemory:
    """The shared words.

    Attributes:
        fd: to be inherited by the other process.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, _SIZE)
        self._view = memoryview(self._map)
        self._words = self._view[: _WORDS * 8].cast("Q")

    @classmethod
    def create(cls) -> FenceMemory:
        """New memory, all of it 0."""
        fd = os.memfd_create("doctrain-fence")
        os.ftruncate(fd, _SIZE)
        return cls(fd)

    @property
    def deadline_ns(self) -> int:
        """When the children are killed, in nanoseconds of CLOCK_MONOTONIC; 0: nothing is killed for time. Written by the main process."""
        return self._words[_DEADLINE]

    @deadline_ns.setter
    def deadline_ns(self, value: int) -> None:
        self._words[_DEADLINE] = value

    def note_session(self, session: int, secret: bytes) -> None:
        """The main process has this session, with the secret that proves it."""
        self._words[_SESSION] = 0
        self._view[_SECRET] = secret.ljust(_SECRET_BYTES, b"\0")[:_SECRET_BYTES]
        self._words[_SESSION] = session

    def note_self_fenced(self) -> None:
        """The main process ended its session itself: a main process that dies before it has another one dies of no shard's doing."""
        if self._words[_SESSION]:
            self._words[_SESSION] |= _SELF_FENCED

    def hand_down(self) -> None:
        """The main process is dead: the next one finds its session, if it had one, as ``predecessor``, and no deadline."""
        if session := self._words[_SESSION]:
            self._words[_PREDECESSOR] = session
            self._view[_PREDECESSORS_SECRET] = self._view[_SECRET]
        self._words[_SESSION] = self._words[_DEADLINE] = 0

    @property
    def predecessor(self) -> Predecessor:
        """The session that was handed down."""
        number = self._words[_PREDECESSOR]
        return Predecessor(number & ~_SELF_FENCED, bool(number & _SELF_FENCED), bytes(self._view[_PREDECESSORS_SECRET]))

    @property
    def taken(self) -> int:
        """The epoch that the main process knows of. Written by the main process, once the deadline is no more that of its last session.

        While it is behind the epoch, the last session is over and no deadline counts.
        """
        return self._words[_TAKEN]

    @taken.setter
    def taken(self, value: int) -> None:
        self._words[_TAKEN] = value

    @property
    def epoch(self) -> int:
        """How often all children were killed at once; raised by the guardian after the last of them is dead."""
        return self._words[_EPOCH]

    @epoch.setter
    def epoch(self, value: int) -> None:
        self._words[_EPOCH] = value

    @property
    def polled_ns(self) -> int:
        """When the guardian last looked at the deadline, in nanoseconds of CLOCK_MONOTONIC."""
        return self._words[_POLLED]

    @polled_ns.setter
    def polled_ns(self, value: int) -> None:
        self._words[_POLLED] = value

    def close(self) -> None:
        """Unmaps the memory and closes the descriptor."""
        self._words.release()
        self._view.release()
        self._map.close()
        os.close(self.fd)
