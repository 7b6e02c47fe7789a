"""What every address of a call answered, so that the error at its end hides none of them."""

from __future__ import annotations

from doctrain import causes
from doctrain.errors import CallTimeoutError, DoctrainError, UnavailableError


class Tries:
    """Gathers the failures of one call or watch, the last of each address."""

    def __init__(self, operation: str) -> None:
        self.operation = operation
        self._failures: dict[str, DoctrainError] = {}

    def add(self, address: str, failure: DoctrainError) -> None:
        """What an address said goes before what was made on the way to it."""
        known = self._failures.pop(address, None)
        self._failures[address] = known if known is not None and known.reason and not failure.reason else failure

    def rank(self, address: str) -> int:
        """Which address comes next, the lowest: one that has not failed, or the one that did so longest ago."""
        return 1 + list(self._failures).index(address) if address in self._failures else 0

    def clear(self) -> None:
        """An address answered."""
        self._failures.clear()

    def uncertain(self) -> list[tuple[str, DoctrainError]]:
        """Failures whose cause may be another one than gRPC says."""
        return [(address, failure) for address, failure in self._failures.items() if failure.cause in causes.UNCERTAIN]

    def combined(self, last: DoctrainError) -> DoctrainError:
        """``last``, or when several addresses did not answer an error that names them all and speaks with a service's words."""
        if len(self._failures) < 2 or not isinstance(last, UnavailableError):
            return last
        told: DoctrainError = last
        if not isinstance(last, CallTimeoutError):
            told = next((failure for failure in reversed(self._failures.values()) if failure.reason), last)
        others = {address: failure for address, failure in self._failures.items() if failure is not told}
        if told.reason or isinstance(told, CallTimeoutError):
            others = {address: failure for address, failure in others.items() if failure.sentence != told.sentence}
            sentence = f"{told.sentence} (Also tried: {_listed(others)}.)" if others else f"{told.sentence} (So it was at every address.)"
        else:
            sentence = f"No doctrain service could be reached to {self.operation}: {_listed(self._failures)}."
        return type(told)(sentence, status=told.status, details=told.details)


def _listed(failures: dict[str, DoctrainError]) -> str:
    return "; ".join(f"{address}: {failure.cause or failure.sentence.rstrip('.')}" for address, failure in failures.items())
