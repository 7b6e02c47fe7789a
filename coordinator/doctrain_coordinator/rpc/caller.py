"""What a handler may ask about the call that it serves; set around every call (``interceptors.py``)."""

from __future__ import annotations

from contextvars import ContextVar

from doctrain_coordinator.rpc.gates import Turn
from doctrain_coordinator.tenants.identity import Identity

CALLER: ContextVar[Identity] = ContextVar("doctrain_caller")
"""Who made the call."""
METHOD: ContextVar[str] = ContextVar("doctrain_method", default="")
"""Its method."""
TURN: ContextVar[Turn] = ContextVar("doctrain_turn")
"""The turn in which it is served."""
