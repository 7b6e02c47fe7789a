"""A part that is away is told of once when it goes, once a minute while it stays away, and once when it is back.

Many loops of a process meet the same absence, each at its own pace. The adapters report every failure and every success here;
what the loops would say of it themselves stays out of the log (``logs``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Callable

from doctrain_mesh.observability import metrics

log = logging.getLogger("doctrain")
AGAIN_SECONDS = 60.0
SETTLE_SECONDS = 1.0
"""A part counts as back when nothing has failed for this long: connections from before its restart fail late."""
WAITS = "Work that needs it waits, and goes on by itself."


class Outage:
    """What a process knows of one part's absence; ``meanwhile`` says what that means for work."""

    def __init__(self, part: str, clock: Callable[[], float] = time.monotonic, *, meanwhile: str = WAITS) -> None:
        self._part, self._clock, self._meanwhile = part, clock, meanwhile
        self._since: float | None = None
        self._told = 0.0
        self._good_since: float | None = None

    def away(self, cause: str) -> None:
        """An operation failed."""
        now = self._clock()
        self._good_since = None
        if self._since is None:
            self._since = self._told = now
            metrics.DEPENDENCY_AWAY.add(1, self._part)
            log.warning("%s is away: %s. %s", self._part, cause.rstrip("."), self._meanwhile)
        elif now - self._told >= AGAIN_SECONDS:
            self._told = now
            log.warning("%s has been away for %d s: %s.", self._part, now - self._since, cause.rstrip("."))

    def back(self) -> None:
        """An operation succeeded; cheap while all is well."""
        if self._since is None:
            return
        if self._good_since is None:
            self._good_since = self._clock()
            asyncio.get_running_loop().call_later(SETTLE_SECONDS + 0.05, self._settle)
        self._settle()

    def _settle(self) -> None:
        if self._since is None or self._good_since is None or self._clock() - self._good_since < SETTLE_SECONDS:
            return
        log.warning("%s is back after %d s.", self._part, max(1, round(self._good_since - self._since)))
        self._since = self._good_since = None
        metrics.DEPENDENCY_AWAY.add(-1, self._part)


def cause(error: BaseException) -> str:
    """What an error says, in a line, without the stop at its end."""
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):  # its number is OpenSSL's, and says something else to the system
        return f"TLS: {(error.strerror or 'broken off').partition(' (_ssl')[0]}"
    if isinstance(error, OSError) and error.strerror:
        return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
