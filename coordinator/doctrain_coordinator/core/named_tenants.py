"""What is told of tenants one by one: the largest by name and all others together, so that there are never more series than that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_NAMED = 50
OTHERS = "_other"
"""No tenant is named so."""


@dataclass(frozen=True, slots=True)
class Share:
    """A tenant's shards that wait, and how many slots it uses."""

    name: str
    pending: int
    used: int


def shares(largest: Sequence[Share], *, pending: int, used: int) -> list[Share]:
    """The first of the ``largest``, and what is left to all others of what there is in all."""
    named = list(largest[:MOST_NAMED])
    left = Share(OTHERS, pending - sum(share.pending for share in named), used - sum(share.used for share in named))
    return [*named, left]
