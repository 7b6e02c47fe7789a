"""Documents on their way into Postgres: a chunk is what one transaction stores, whatever it was read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FIRST = 5_000
"""Documents of a training's first chunk, at most: a call waits for it."""
FIRST_BYTES = 4 * 2**20
"""Of the first lines of a manifest: a tenant's calls that wait for one are bounded by its own line alone."""
MOST = 50_000
"""Documents of any other."""
SECONDS = 5.0
"""What came of a slow source is stored after that long, and a loader's connection shows that it lives."""

Row = tuple[str, str, str | None, str | None]
"""(document_id, uri, media type, metadata as JSON) as the document table takes them."""


@dataclass(frozen=True, slots=True)
class Copied:
    """Documents of another training, by their ordinals there."""

    training: int
    ordinals: Sequence[int]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Documents to store: ``rows``, ``copied`` ones, or, for numbered ones, only how many.

    ``offset`` is where the next begins (bytes of a manifest, ordinals of another training, documents that are numbered), and
    ``lines`` how many lines of a manifest are read by then. ``line_of[i]`` is the line of row i.
    """

    count: int
    offset: int
    last: bool
    rows: Sequence[Row] = ()
    line_of: Sequence[int] = ()
    lines: int = 0
    copied: Copied | None = None

    @property
    def goes_on(self) -> bool:
        """Whether its load goes on by it: blank lines alone are no progress, for a server may send them without end."""
        return self.count > 0 or self.last or self.copied is not None


def numbered(loaded: int, count: int, most: int) -> Chunk:
    """Given ``count`` documents that differ by number only, the next ``most`` after those that are loaded."""
    after = min(loaded + most, count)
    return Chunk(after - loaded, after, after == count)
