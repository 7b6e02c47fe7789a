"""The words for values of enums: ``completed`` is as good as ``TRAINING_STATE_COMPLETED`` and as its number, and is what states read as."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from doctrain.errors import UsageError

if TYPE_CHECKING:
    from doctrain.v1.training_pb2 import Document, Training

_TASK_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def value(enum: Any, prefix: str, given: int | str) -> Any:
    """The value of a protobuf enum that a word, a name or a number stands for; raises UsageError that lists the words."""
    if not isinstance(given, str):
        return given
    name = given.strip().upper().replace("-", "_").replace(" ", "_")
    known = {name: number for name, number in enum.items() if number}
    name = name if name.startswith(prefix) else prefix + name
    if name not in known:
        words = ", ".join(one.removeprefix(prefix).lower() for one in known)
        raise UsageError(f"{given!r} is none of: {words}.")
    return known[name]


def values(enum: Any, prefix: str, given: Iterable[int | str] | str) -> list[Any]:
    """The values for several; a single word counts as one of them, not as its letters."""
    return [value(enum, prefix, one) for one in several(given)]


def several(given: Iterable[Any] | str) -> list[Any]:
    """What was given; a single text counts as one of several, not as its letters, and so does what is nothing of several."""
    return [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)


def check_training_task_id(training_task_id: str | None) -> None:
    """Raises UsageError for an id that the service would refuse; None is made up later."""
    if training_task_id is not None and not (isinstance(training_task_id, str) and _TASK_ID.fullmatch(training_task_id)):
        raise UsageError(f"{training_task_id!r} cannot be a training's id; one has 1 to 128 characters: letters, digits and any of . _ : -")


def state_of(message: Training | Document) -> str:
    """Where a training or a document stands, as a word: ``completed``, ``completed_with_failures``, ``failed``."""
    enum = message.DESCRIPTOR.fields_by_name["state"].enum_type
    known = enum.values_by_number.get(message.state) if enum is not None else None
    return known.name.partition("_STATE_")[2].lower() if known is not None else str(message.state)
