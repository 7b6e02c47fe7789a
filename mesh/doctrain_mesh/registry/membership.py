"""Where the registry keeps who is there: written by each part of the mesh for itself, read by the others.

A record is believed only as far as it is what it should be, whoever may have written it: a bad one is passed over and told of once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from doctrain_mesh.network.addresses import is_endpoint

T = TypeVar("T")
log = logging.getLogger(__name__)

ROOT = "/doctrain/"
"""Before every key of a mesh's."""

WORKERS = f"{ROOT}workers/"
"""Followed by the worker's name: what it says of itself, for operators."""

COORDINATORS = f"{ROOT}coordinators/"
"""Followed by the coordinator's name, / and a word of its boot's own: JSON with the ``address`` at which workers find it."""

MOST_TOLD = 1_000


def facts(value: bytes) -> dict[str, Any]:
    """What a record says, of which nothing more is known than that it is a JSON object; raises ValueError with what is wrong."""
    try:
        said = json.loads(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError("it is not JSON") from None
    if not isinstance(said, dict):
        raise ValueError("it is not a JSON object")
    return said


def address(value: bytes) -> str:
    """Where a coordinator serves, HOST:PORT; raises ValueError with what is wrong."""
    said = facts(value).get("address")
    if not isinstance(said, str) or not is_endpoint(said):
        raise ValueError("its `address` is not HOST:PORT")
    return said


class Reader:
    """Reads records that anyone may have written; each bad one is logged once, until that key has a good one."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def read(self, key: str, value: bytes, reading: Callable[[bytes], T]) -> T | None:
        """What ``reading`` makes of a record; None for one that is not what it should be."""
        try:
            found = reading(value)
        except ValueError as error:
            if key not in self._told and len(self._told) < MOST_TOLD:
                self._told.add(key)
                log.warning("The registry's record %.200r is passed over: %s.", key, error)
            return None
        self._told.discard(key)
        return found
