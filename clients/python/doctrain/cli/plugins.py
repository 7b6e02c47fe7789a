"""Commands of other installed packages: entry points of group ``doctrain.commands``, each of which names a ``click.Command``."""

from __future__ import annotations

from importlib.metadata import EntryPoints, entry_points

GROUP = "doctrain.commands"
OF_SERVER = ("dev", "doctor", "certs")
"""Those of the package ``doctrain-server``."""


def installed() -> EntryPoints:
    """All of them."""
    return entry_points(group=GROUP)
