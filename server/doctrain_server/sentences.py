"""What a person who runs a command is told of an error: its sentence, without a stack trace."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from doctrain_mesh.errors import ConfigurationError, DoctrainError
from doctrain_mesh.observability import logs

_Error = TypeVar("_Error", bound=DoctrainError)


@contextmanager
def told(program: str) -> Iterator[None]:
    """Turns our errors, also those that a task group wrapped, into sentences and an exit status; others pass.

    The status is 78 (EX_CONFIG) for a wrong setting, else 1.
    """
    errors: list[DoctrainError] = []
    try:
        yield
    except* DoctrainError as group:
        errors = list(leaves(group))
    if errors:
        for sentence in dict.fromkeys(error.sentence for error in errors):
            logs.last_words(program, sentence)
        sys.exit(os.EX_CONFIG if any(isinstance(error, ConfigurationError) for error in errors) else 1)


def leaves(group: BaseExceptionGroup[_Error]) -> Iterator[_Error]:
    """The errors in it, and in the groups in it."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error
