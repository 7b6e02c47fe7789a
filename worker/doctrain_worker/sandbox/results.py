"""What can come of one call in a child."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """The function returned; ``seconds`` from the call to its answer, without the wait for a free child."""

    value: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The function refused the document (``Refusal``)."""

    code: str
    sentence: str
    resource: bool


@dataclass(frozen=True, slots=True)
class Raised:
    """The function raised something else; ``kind`` is the exception's class."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Crashed:
    """The child died by itself; ``how`` is ``SIGSEGV`` or ``status 1``."""

    how: str


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The call took longer than it may; the child is dead."""

    seconds: float


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """The call needed more memory than it may have."""

    limit_bytes: int


@dataclass(frozen=True, slots=True)
class OutOfSpace:
    """The call wrote more to files than it may."""

    limit_bytes: int


@dataclass(frozen=True, slots=True)
class TooMuchOutput:
    """The child sent more than it may, or no answer at all but something else; it is dead."""

    limit_bytes: int


CallResult = Result | Refused | Raised | Crashed | TimedOut | OutOfMemory | OutOfSpace | TooMuchOutput
