"""What others wrote, made fit to be shown: as the code of a failure, as a sentence for a person, within a line of a log."""

from __future__ import annotations

import re

OTHER = "OTHER"
"""Stands for a code that is none."""

_CODE = re.compile("[A-Z][A-Z0-9_]{0,63}")


def code(said: str) -> str:
    """A failure's code, a constant of at most 64 upper-case letters, digits and underscores; OTHER for anything else."""
    return said if _CODE.fullmatch(said) else OTHER


def sentence(said: str, most: int) -> str:
    """At most so many characters as one line: breaks of lines are spaces in it, and what cannot be shown is replaced."""
    return printable(" ".join(said[:most].split()))


def printable(said: str, *, besides: str = "") -> str:
    """The text with a replacement character for each that cannot be shown, but for those ``besides``."""
    if said.isprintable():
        return said
    return "".join(c if c.isprintable() or c in besides else "\N{REPLACEMENT CHARACTER}" for c in said)


def escaped(said: str) -> str:
    """The text with an escape, as Python writes it, for each character that cannot be shown: it stays one line, and moves no cursor."""
    if said.isprintable():
        return said
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in said)
