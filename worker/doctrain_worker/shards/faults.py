"""What processors raise, told to the log: the first of a kind with its trace; the later ones, one a document maybe, are counted."""

from __future__ import annotations

import logging
import traceback
from collections import Counter

log = logging.getLogger(__name__)


class Faults:
    """The faults of a worker's processor. Of one kind are those of a type that the same line raised."""

    def __init__(self) -> None:
        self._met = Counter[str]()

    def tell(self, error: BaseException, sentence: str) -> None:
        """Logs the first of its kind with its trace, and the 10th, 100th and so on with their number."""
        kind = _kind(error)
        self._met[kind] += 1
        count = self._met[kind]
        if count == 1:
            log.error("%s", sentence, exc_info=error)
        elif count == 10 ** (len(str(count)) - 1):
            log.error("%s It is the same fault for the %sth time (%s); its trace stands at the first.", sentence, f"{count:,}", kind)


def _kind(error: BaseException) -> str:
    name, frames = type(error).__qualname__, [*traceback.walk_tb(error.__traceback__)]
    return f"{name} at {frames[-1][0].f_code.co_filename}:{frames[-1][1]}" if frames else name
