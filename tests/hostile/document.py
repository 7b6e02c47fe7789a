"""One hostile document, and the ends that such may come to."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20

OK = "OK"
LIMITS = frozenset({"TOO_LARGE", "TOO_DEEP", "TOO_MANY_PAGES", "TOO_MANY_PARTS", "MEMORY_LIMIT", "TIME_LIMIT", "SPACE_LIMIT"})
DAMAGE = frozenset({"CORRUPT", "EMPTY", "NO_TEXT"})


@dataclass(frozen=True)
class Hostile:
    """A document: its kind and name, its bytes, the codes it may end with, and words that must not be in its text."""

    kind: str
    name: str
    content: bytes
    ends: frozenset[str]
    unwanted: str = ""

    @property
    def media_type(self) -> str:
        """See ``media_type``."""
        return media_type(self.name)


def media_type(name: str) -> str:
    """That of an archive asks for its members; other documents say none."""
    if name.endswith((".tar", ".gz", ".bz2", ".xz")):
        return "application/x-tar; unpack"
    return "application/zip; unpack=true" if name.endswith(".zip") else ""


def hostile(kind: str, name: str, content: bytes, *ends: str | frozenset[str], unwanted: str = "") -> Hostile:
    """One; ``ends`` are codes and sets of codes."""
    return Hostile(kind, name, content, frozenset(code for end in ends for code in ([end] if isinstance(end, str) else end)), unwanted)
