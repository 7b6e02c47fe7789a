"""Names of a document's parts: paths that lead nowhere, each once. Pure."""

from __future__ import annotations

import re

LONGEST = 200
_STEPS = re.compile(r"[/\\]+")


def part_name(name: str, taken: set[str]) -> str:
    """A file name, or a path in an archive, as the part's name; it is added to those that are taken.

    What leads upwards or cannot be shown is left out, and the second of a name is told from the first by a number.
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in name.encode("utf-8", "replace").decode())
    path = "/".join(step.strip() for step in _STEPS.split(shown) if step.strip() not in ("", ".", ".."))[-LONGEST:] or "part"
    unlike = path
    number = 1
    while unlike in taken:
        number += 1
        unlike = f"{path} ({number})"
    taken.add(unlike)
    return unlike
