"""What can come of one call in a child: what the child says itself, and what is said of one that cannot any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec.structs import force_setattr

from doctrain_mesh import shown

T = TypeVar("T")

MOST_LETTERS = 2000
"""Of what a child says in words; it cuts them itself."""

Words = Annotated[str, msgspec.Meta(max_length=MOST_LETTERS)]


@dataclass(frozen=True, slots=True)
class Result(Generic[T]):
    """The function returned; ``seconds`` from the call to its answer, without the wait for a free child."""

    value: T
    seconds: float


class Refused(msgspec.Struct, array_like=True, frozen=True, tag=1):
    """The function refused the document (``Refusal``); ``code`` is a constant and ``sentence`` one line, whatever it said."""

    code: Words
    sentence: Words
    resource: bool

    def __post_init__(self) -> None:
        force_setattr(self, "code", shown.code(self.code))
        force_setattr(self, "sentence", shown.sentence(self.sentence, MOST_LETTERS))


class Raised(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """The function raised something else; ``kind`` is the exception's class, in one line."""

    kind: Words
    message: Words

    def __post_init__(self) -> None:
        force_setattr(self, "kind", shown.sentence(self.kind, MOST_LETTERS))


class OutOfMemory(msgspec.Struct, array_like=True, frozen=True, tag=3):
    """The call needed more memory than it may have."""

    limit_bytes: int = 0


class OutOfSpace(msgspec.Struct, array_like=True, frozen=True, tag=4):
    """The call wrote more to files than it may."""

    limit_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Crashed:
    """The child died by itself, or was ended for what it did; ``how`` is ``SIGSEGV``, ``status 1`` or a few words."""

    how: str


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The call took longer than it may; the child is dead."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TooMuchOutput:
    """The answer is larger than it may be; the child is dead."""

    limit_bytes: int


Failed = Refused | Raised | OutOfMemory | OutOfSpace | Crashed | TimedOut | TooMuchOutput
"""A call that gave no result."""

NO_ANSWER = Crashed("gave no proper answer")
"""What the child said is not what its function answers."""
