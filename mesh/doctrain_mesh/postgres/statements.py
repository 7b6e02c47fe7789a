"""SQL statements by name: a module's stand beside it, in a file of its name, and no other module has them.

The file holds blocks that begin with ``-- name: the_name``. A block's other comment lines say what the statement does; they are
sent along and show in Postgres's own views. A statement that several modules need is a function of the one that has it.
"""

from __future__ import annotations

import re
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def of(module: str) -> dict[str, str]:
    """The statements of a module by name: ``SQL = statements.of(__name__)``; what is wrong with the file is raised at import."""
    package, _, name = module.rpartition(".")
    text = resources.files(package).joinpath(f"{name}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)
    names, bodies = parts[1::2], parts[2::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{name}.sql of {package} names a statement twice.")
    return {name: body.strip().rstrip(";") for name, body in zip(names, bodies, strict=True)}
