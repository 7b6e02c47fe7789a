"""What callers change is told twice, once it is done: in the audit log, by the transaction that does it, and in the program's log.

Both have one sentence, and who did it, and no secret. What was refused: ``refusals``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from doctrain_coordinator.rpc.caller import CALLER, METHOD
from doctrain_coordinator.rpc.refusals import DEED, trace_id
from doctrain_coordinator.tenants.audit import Deed
from doctrain_coordinator.tenants.identity import ROLE_NAMES, ROLE_TENANT, Identity

log = logging.getLogger(__name__)


@contextmanager
def deed(subject: str, *, tenant_id: str = "") -> Iterator[Deed]:
    """The deed of the call that runs, to write where it is done; ``subject``: what it changes, ``tenant_id``: whom it concerns."""
    made = Deed(CALLER.get(), METHOD.get().rpartition("/")[2], trace_id(), tenant_id, subject)
    DEED.set(made)
    yield made
    if made.sentence:
        caller = made.caller
        log.info("%s, by %s with key %d.", made.sentence, _who(caller), caller.key_id)


def _who(caller: Identity) -> str:
    if caller.role == ROLE_TENANT:
        return f"tenant {caller.tenant_id}"
    return f"role {ROLE_NAMES[caller.role]}" + (f" for tenant {caller.tenant_id}" if caller.tenant_id else "")
