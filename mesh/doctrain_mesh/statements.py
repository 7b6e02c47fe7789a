"""Every SQL statement by name: a package's ``sql/*.sql`` hold blocks that begin with ``-- name: the_name``.

A block's other comment lines say what the statement does; they are sent along and show in Postgres's own views.
"""

from __future__ import annotations

import re
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load(package: str, file: str) -> dict[str, str]:
    """The statements of ``sql/<file>.sql`` in a package by name; raises KeyError-like errors at import, never later."""
    text = resources.files(package).joinpath(f"sql/{file}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)
    names, bodies = parts[1::2], parts[2::2]
    if len(set(names)) != len(names):
        raise ValueError(f"sql/{file}.sql of {package} names a statement twice.")
    return {name: body.strip().rstrip(";") for name, body in zip(names, bodies, strict=True)}
