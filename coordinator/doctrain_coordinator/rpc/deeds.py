"""What the log tells of what callers changed, once it is done: a line each, with who did it, and no secret."""

from __future__ import annotations

import logging

from doctrain_coordinator.rpc.interceptors import CALLER
from doctrain_coordinator.tenants.keys import ROLE_NAMES, ROLE_TENANT

log = logging.getLogger(__name__)


def tell(deed: str, *facts: object) -> None:
    """Logs ``deed % facts`` with the caller's tenant, or role, and the number of the key."""
    caller = CALLER.get()
    if caller.role == ROLE_TENANT:
        who = f"tenant {caller.tenant_id}"
    else:
        who = f"role {ROLE_NAMES[caller.role]}" + (f" for tenant {caller.tenant_id}" if caller.tenant_id else "")
    log.info("%s, by %s with key %d.", deed % facts, who, caller.key_id)
