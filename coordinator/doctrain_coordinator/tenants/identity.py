"""Who calls, as an API key says it."""

from __future__ import annotations

from dataclasses import dataclass

ROLE_TENANT, ROLE_WORKER, ROLE_OPERATOR = 1, 2, 3
ROLE_NAMES = {ROLE_TENANT: "tenant", ROLE_WORKER: "worker", ROLE_OPERATOR: "operator"}
DELETED = "This tenant is being deleted."
"""What its callers are told from then on."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls: a role, the number of the API key, and the tenant, or the one that an operator acts for: its key in Postgres and name.

    Args:
        suspended: why a suspended tenant is, a sentence; empty for any other.
        plan: the tenant's.
        requests_per_second: calls that its plan allows it at each coordinator; 0: no limit.
        watches: streams that its plan allows it at each coordinator; 0: no limit.
    """

    role: int
    tenant: int = 0
    tenant_id: str = ""
    key_id: int = 0
    suspended: str = ""
    plan: str = ""
    requests_per_second: float = 0.0
    watches: int = 0
