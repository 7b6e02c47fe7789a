"""SQL statements by name: a module's stand beside it, in a file of its name, and no other module has them.

The file holds blocks that begin with ``-- name: the_name``. A block's other comment lines say what the statement does; they are
sent along and show in Postgres's own views. A statement that several modules need is a function of the one that has it.

Numbers that mean something have their names there: ``:ShardState.RUNNING`` stands for that member's number and
``:ShardState.HELD``, a tuple of numbers, for all of them with commas between. They are replaced when the file is read, so what is sent
has literals, which partial indexes and prepared plans are matched by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_NUMBER = re.compile(r"(?<!:):([A-Z]\w*)\.(\w+)")


def of(module: str, *enums: type[IntEnum]) -> dict[str, str]:
    """The statements of a module by name: ``SQL = statements.of(__name__)``, with the enums that they name numbers of.

    Raises ValueError, at import, for a name that is there twice, and for a number that no enum names.
    """
    package, _, name = module.rpartition(".")
    text = resources.files(package).joinpath(f"{name}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)
    names, bodies = parts[1::2], parts[2::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{name}.sql of {package} names a statement twice.")
    known = {enum.__name__: enum for enum in enums}
    try:
        numbered = [_NUMBER.sub(lambda found: _numbers(known, found[1], found[2]), body) for body in bodies]
    except LookupError as error:
        raise ValueError(f"{name}.sql of {package} names a number that {name}.py gives it no enum for: {error}.") from error
    return {name: body.strip().rstrip(";") for name, body in zip(names, numbered, strict=True)}


def _numbers(enums: Mapping[str, type[IntEnum]], enum: str, name: str) -> str:
    number = vars(enums[enum]).get(name) if enum in enums else None
    if isinstance(number, int):
        return str(int(number))
    if isinstance(number, tuple):
        return ", ".join(str(int(one)) for one in number)
    raise LookupError(f"{enum}.{name}")
