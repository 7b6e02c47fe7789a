"""Operators' calls that would change something and are refused stand in the audit log, wherever they end: at a gate, a check, or a rule.

Those of others do not: they are as many as somebody likes to send.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar

from opentelemetry import trace

from doctrain_coordinator.rpc.policies import policy_of
from doctrain_coordinator.tenants.audit import Deed
from doctrain_coordinator.tenants.identity import ROLE_OPERATOR, Identity
from doctrain_mesh.errors import DoctrainError, StoreUnavailableError, UnavailableError
from doctrain_mesh.postgres import Pool

DEED: ContextVar[Deed | None] = ContextVar("doctrain_deed", default=None)
"""That of the call that runs, from where it is known what it changes."""

log = logging.getLogger(__name__)


def trace_id() -> str:
    """The trace of the call that runs; empty when it is not traced."""
    span = trace.get_current_span().get_span_context()
    return f"{span.trace_id:032x}" if span.is_valid else ""


async def tell(pool: Pool, caller: Identity, method: str, error: DoctrainError) -> None:
    """What the audit log has to be told of a call that ended with an error."""
    if caller.role != ROLE_OPERATOR or not policy_of(method).changes or isinstance(error, UnavailableError):
        return
    deed = DEED.get() or Deed(caller, method.rpartition("/")[2], trace_id())
    try:
        await deed.refused(pool, error.reason, error.sentence)
    except StoreUnavailableError as away:
        log.warning("That a call was refused is not in the audit log: %s", away)
