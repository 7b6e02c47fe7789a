"""How the nearest of a tenant's chunks are looked for.

The index of a model's vectors holds all tenants'. It gives the chunks nearest to a query one after the other, and those that are
another tenant's, or that the filter does not allow, are passed over: of a tenant with one chunk in a thousand, a thousand are
passed over for each that is found, and in the end some are missed. Where the allowed chunks are few, looking at each of them takes
less time and misses none.
"""

from __future__ import annotations

WANTED = 100
"""Chunks that each order has, whatever the size of the page: what is fused is the same for all pages."""

STEP_COST = 20
"""What a step along the index costs, in chunks looked at. Measured: 7 to 10; the rest is what it is worth to miss none."""


def looks_at_all(allowed: int, indexed: int) -> bool:
    """Whether to look at each of the ``allowed`` chunks; ``indexed`` is how many the model's index holds, as far as known."""
    steps = WANTED * max(indexed, allowed) / max(allowed, 1)
    return allowed <= steps * STEP_COST
