"""What is told of a document that was read: how much it was, how long it took, and what of it could not be read."""

from __future__ import annotations

from dataclasses import dataclass, field

from doctrain_mesh.stages import UNREAD
from doctrain_worker.pipeline.child.source import Timeline
from doctrain_worker.pipeline.processor import StageTiming
from doctrain_worker.pipeline.wire import Slice, UnreadPart
from doctrain_worker.sandbox.child.refusal import Refusal

LONGEST_FACT = 1000
UNREAD_NAMED = 5
"""How many parts that could not be read are named."""


@dataclass
class Facts:
    """Grows with each slice.

    Attributes:
        unread: parts that could not be read.
        chunks: how many there are so far.
    """

    media_type: str = ""
    chunks: int = 0
    unread: list[UnreadPart] = field(default_factory=list)
    _pages: int = 0
    _kept: int = 0
    _recognised: int = 0
    _blank: int = 0
    _parts: set[str] = field(default_factory=set)
    _ends: dict[str, int] = field(default_factory=dict)
    _says_something: bool = False

    @property
    def characters(self) -> int:
        """In the texts of all parts."""
        return sum(self._ends.values())

    def add(self, found: Slice, *, kept: bool) -> None:
        """One more slice; ``kept`` from an earlier reading."""
        self.media_type = self.media_type or found.media_type
        if found.blocks:
            self._ends[found.part] = found.blocks[-1].end
        pages = found.last_page - found.first_page + 1 if found.last_page else 0
        self._pages += pages
        self._kept += pages if kept else 0
        self._recognised += 0 if kept else found.recognised
        self._blank += found.blank
        if found.part:
            self._parts.add(found.part)
        self._says_something = self._says_something or any(letter.isalnum() for block in found.blocks for letter in block.text)

    def check(self) -> None:
        """Raises the refusal of a part when nothing else could be read, or Refusal NO_TEXT. Pages may be empty: they were looked at."""
        if self._says_something or self._pages:
            return
        if self.unread:
            first = self.unread[0]
            raise Refusal(first.code, f"Nothing in the document could be read. {first.part}: {first.sentence}")
        raise Refusal("NO_TEXT", "There are no words in the document; leave it out.")

    def timings(self, timeline: Timeline, size: int) -> list[StageTiming]:
        """The stages that ran, with what is known of each."""
        extract: dict[str, str | int | float] = {"bytes": size, "characters": self.characters}
        if self._pages:
            extract |= {"pages": self._pages, "pages_without_text": self._blank}
        if timeline.pages > self._pages:
            extract["pages_in_all"] = timeline.pages
        if self._kept:
            extract["pages_kept"] = self._kept
        if self._parts or self.unread:
            extract |= {"parts": len(self._parts), "unread_parts": len(self.unread)}
        if self.unread:
            extract[UNREAD] = "; ".join(f"{one.part}: {one.code}" for one in self.unread[:UNREAD_NAMED])[:LONGEST_FACT]
        facts: dict[str, dict[str, str | int | float]] = {
            "detect": {"media_type": self.media_type},
            "extract": extract,
            "ocr": {"pages": self._recognised},
            "chunk": {"chunks": self.chunks},
        }
        ran = [name for name in facts if name in timeline.seconds]
        return [StageTiming(name, timeline.started[name], timeline.seconds[name], facts[name]) for name in ran]
