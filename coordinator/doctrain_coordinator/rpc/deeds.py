"""What callers change is told twice, once it is done: in the audit log, by the transaction that does it, and in the program's log.

Both have one sentence, and who did it, and no secret. Of operators' calls that are refused the audit log is told, too; those of others
are as many as somebody likes to send.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from opentelemetry import trace

from doctrain_coordinator.rpc.interceptors import CALLER, METHOD
from doctrain_coordinator.tenants.audit import Deed
from doctrain_coordinator.tenants.identity import ROLE_NAMES, ROLE_OPERATOR, ROLE_TENANT, Identity
from doctrain_mesh.errors import DoctrainError, StoreUnavailableError, UnavailableError
from doctrain_mesh.postgres import Pool

log = logging.getLogger(__name__)


@asynccontextmanager
async def deed(pool: Pool, subject: str, *, tenant_id: str = "") -> AsyncIterator[Deed]:
    """That of the call that runs, to write where it is done; ``subject``: what it changes, ``tenant_id``: whom it concerns."""
    span = trace.get_current_span().get_span_context()
    trace_id = f"{span.trace_id:032x}" if span.is_valid else ""
    made = Deed(CALLER.get(), METHOD.get().rpartition("/")[2], trace_id, tenant_id, subject)
    try:
        yield made
    except UnavailableError:
        raise
    except DoctrainError as error:
        await _tell_refused(pool, made, error)
        raise
    if made.sentence:
        caller = made.caller
        log.info("%s, by %s with key %d.", made.sentence, _who(caller), caller.key_id)


def _who(caller: Identity) -> str:
    if caller.role == ROLE_TENANT:
        return f"tenant {caller.tenant_id}"
    return f"role {ROLE_NAMES[caller.role]}" + (f" for tenant {caller.tenant_id}" if caller.tenant_id else "")


async def _tell_refused(pool: Pool, made: Deed, error: DoctrainError) -> None:
    if made.caller.role != ROLE_OPERATOR:
        return
    try:
        await made.refused(pool, error.reason, error.sentence)
    except StoreUnavailableError as away:
        log.warning("That a call was refused is not in the audit log: %s", away)
