"""A document, or a part of one, as it is handed to whatever reads it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from doctrain_worker.pipeline.child import media
from doctrain_worker.pipeline.wire import ReadLimits, UnreadPart
from doctrain_worker.sandbox.child.refusal import Refusal

MOST_PARTS = 1000
DEEPEST = 4
"""How many parts may be within one another: a member of an archive that is attached to a mail is two deep."""


_AT_ONCE = 0.001


class Timeline:
    """How long each stage took in all, and when it began first; what runs within another stage is not counted there.

    A stage within another that begins with it begins before it. ``pages``: of all that was opened so far.
    """

    def __init__(self) -> None:
        self.pages = 0
        self.started: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._clock = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Runs the stage."""
        self._note()
        self.started.setdefault(name, time.time())
        self.seconds.setdefault(name, 0.0)
        self._running.append(name)
        try:
            yield
        finally:
            self._note()
            self._running.pop()
            if self._running and self.seconds[self._running[-1]] < _AT_ONCE:
                self.started[self._running[-1]] = time.time()

    def _note(self) -> None:
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] += now - self._clock
        self._clock = now


@dataclass
class Allowance:
    """What the parts of one document may still take together."""

    bytes: int
    parts: int = MOST_PARTS

    def take_part(self) -> None:
        """One more part. Raises Refusal TOO_MANY_PARTS."""
        self.parts -= 1
        if self.parts < 0:
            raise Refusal("TOO_MANY_PARTS", f"The document has more than {MOST_PARTS:,} parts, the limit here; split it.", resource=True)

    def take(self, size: int) -> None:
        """So many bytes of a part. Raises Refusal TOO_LARGE."""
        if size > self.bytes:
            raise Refusal("TOO_LARGE", "With it, the parts are larger together than a document may be; train it by itself.", resource=True)
        self.bytes -= size


@dataclass(frozen=True)
class Source:
    """What is to be read.

    Args:
        content: its bytes.
        claimed: the media type that its tenant, or its mail, gave; may be empty or wrong.
        name: the last part of its URI, or its file name.
        limits: how it may be read.
        media_type: what it is, once that is known.
        part: its path within the document; empty for the document itself.
        depth: how many parts it is within.
        kept: slices that were read before, by part, first and last page; they are not asked for again.
        unread: parts that are not to be read, by part.
        timeline: to be told which stage runs.
        allowance: what its parts may take.
    """

    content: bytes
    claimed: str
    name: str
    limits: ReadLimits
    media_type: str = ""
    part: str = ""
    depth: int = 0
    kept: Mapping[tuple[str, int, int], bytes] = field(default_factory=dict)
    unread: Mapping[str, UnreadPart] = field(default_factory=dict)
    timeline: Timeline = field(default_factory=Timeline)
    allowance: Allowance = field(default_factory=lambda: Allowance(0))

    @property
    def charset(self) -> str:
        """The encoding that its media type states; may be empty or wrong."""
        return media.stated_charset(self.claimed)

    def within(self, name: str, claimed: str) -> Source:
        """A part of this one, whose content comes later."""
        path = f"{self.part}/{name}" if self.part else name
        return dataclasses.replace(self, content=b"", claimed=claimed, name=name.rpartition("/")[2], part=path, depth=self.depth + 1)

    def filled(self, load: Callable[[int], bytes]) -> Source:
        """With the content that ``load`` gives when told how large it may be at most. Raises Refusal TOO_LARGE or TOO_DEEP."""
        if self.depth > DEEPEST:
            raise Refusal("TOO_DEEP", f"It is within more than {DEEPEST} others, the limit here; train it by itself.", resource=True)
        content = load(self.allowance.bytes)
        self.allowance.take(len(content))
        return dataclasses.replace(self, content=content)
