"""How many files and connections this process may have open at once."""

from __future__ import annotations

import resource


def take_all() -> None:
    """Raises the soft limit to the hard one, for this process and what it starts."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (most(), most()))


def most() -> int:
    """What a service that starts here with this process's limits may open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]
