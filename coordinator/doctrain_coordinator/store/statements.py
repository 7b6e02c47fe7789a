"""The coordinator's SQL statements by name, from ``sql/`` here."""

from __future__ import annotations

from doctrain_mesh import statements


def load(file: str) -> dict[str, str]:
    """The statements of ``sql/<file>.sql`` by name."""
    return statements.load(__package__, file)
