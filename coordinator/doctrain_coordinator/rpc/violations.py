"""What is wrong with a request, gathered whole: every field, with what to do; and checks that several services share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from doctrain_mesh.errors import FieldViolation, InvalidRequestError, invalid_field

MOST_VIOLATIONS = 100
MOST_REASON = 200
MOST_STATES = 100
TASK_ID_FAULT = "An id has 1 to 128 characters: letters, digits and any of . _ : -"
_TASK_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_T = TypeVar("_T")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class Violations:
    """Gathers what is wrong, up to ``MOST_VIOLATIONS``."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    def add(self, field: str, description: str) -> None:
        """Adds a field that is wrong."""
        if len(self._found) < MOST_VIOLATIONS:
            self._found.append(FieldViolation(field, description))

    def of_each(self, field: str, values: Sequence[_T], most: int) -> Iterator[tuple[str, _T]]:
        """The values with where they stand; none of more than ``most``, which is then all that is told to be wrong with them."""
        if len(values) > most:
            self.add(field, f"There are {len(values):,}; name at most {most:,} in one call.")
            return
        for place, value in enumerate(values):
            yield f"{field}[{place}]", value

    def raise_any(self) -> None:
        """Raises InvalidRequestError with all that was found, if anything was."""
        if self._found:
            several = len(self._found) > 1
            sentence = f"{len(self._found)} fields of the request are wrong." if several else self._found[0].description
            raise InvalidRequestError(sentence, violations=self._found)


def page_size(asked: int, default: int, most: int) -> int:
    """The size of a page: 0 is the default, too much is the most; raises InvalidRequestError for a negative one."""
    return _most("page_size", "A page size", asked, default, most)


def limit(asked: int, default: int, most: int) -> int:
    """How many of a list that has no further pages; as ``page_size``."""
    return _most("limit", "A limit", asked, default, most)


def _most(field: str, name: str, asked: int, default: int, most: int) -> int:
    if asked < 0:
        raise invalid_field(field, f"{name} must not be negative.")
    return min(asked or default, most)


def states_of(kind: Any, asked: Sequence[int]) -> list[int]:
    """The states of this kind that are asked for; raises InvalidRequestError where there is none such, or there are too many."""
    found = Violations()
    for where, state in found.of_each("states", asked, MOST_STATES):
        if not state or state not in kind.values():
            found.add(where, "There is no such state.")
    found.raise_any()
    return list(asked)


def is_task_id(text: str) -> bool:
    """Whether it can be a training's id."""
    return _TASK_ID.fullmatch(text) is not None


def check_reason(reason: str) -> None:
    """Raises InvalidRequestError for what cannot be shown as a reason of an order or a suspension."""
    if len(reason) > MOST_REASON or not reason.isprintable():
        raise invalid_field("reason", f"A reason has at most {MOST_REASON} characters, all of which can be shown.")


def check_name(field: str, name: str) -> None:
    """Raises InvalidRequestError for what is no name of a tenant or plan."""
    if not _NAME.fullmatch(name):
        whose = "A tenant's id" if field.endswith("tenant_id") else "A plan's name"
        raise invalid_field(field, f"{whose} has 1 to 64 characters, lower-case letters, digits and -, and begins with a letter or digit.")
