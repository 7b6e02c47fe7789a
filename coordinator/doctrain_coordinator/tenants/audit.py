"""The audit log: what operators and tenants changed, and what operators were refused to change.

The transaction that makes a change writes its entry; what takes many has one of each. An entry says who, by role and number of the key, and
what, in a sentence that holds no secret and nothing of documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from doctrain_coordinator.tenants.identity import Identity
from doctrain_mesh import postgres
from doctrain_mesh.postgres import Connection, Pool, statements

SQL = statements.of(__name__)
SECONDS = 5.0
DONE = "OK"


@dataclass(slots=True)
class Deed:
    """A call that changes something.

    Args:
        caller: who makes it.
        call: its name, such as ``SuspendTenant``.
        trace_id: empty when it is not traced.
        tenant_id: whom it concerns; empty: nobody, or the caller.
        subject: what it changes.
        sentence: what it did, once that is written; still empty when nothing had to be changed.
    """

    caller: Identity
    call: str
    trace_id: str
    tenant_id: str = ""
    subject: str = ""
    sentence: str = ""

    async def write(self, c: Connection, sentence: str, *, subject: str = "") -> None:
        """Records that it is done, in the transaction that does it; raises what Postgres says."""
        self.subject, self.sentence = subject or self.subject, sentence
        await c.execute(SQL["write"], *self._row(DONE, sentence))

    async def refused(self, pool: Pool, reason: str, sentence: str) -> None:
        """Records that it was refused; raises StoreUnavailableError."""
        async with postgres.acquired(pool, "writing the audit log", seconds=SECONDS) as c:
            await c.execute(SQL["write"], *self._row(reason, sentence))

    def _row(self, outcome: str, sentence: str) -> tuple[object, ...]:
        tenant = self.tenant_id or self.caller.tenant_id
        return self.caller.role, self.caller.key_id, tenant, self.call, self.subject, outcome, sentence, self.trace_id


@dataclass(frozen=True, slots=True)
class Entry:
    """What the log holds of one deed."""

    id: int
    happened_at: datetime
    role: int
    key: int
    tenant: str
    call: str
    subject: str
    outcome: str
    sentence: str
    trace_id: str


async def page(pool: Pool, before: int, tenant_id: str, size: int) -> list[Entry]:
    """Entries with ids below ``before``, the newest first; of one tenant or (empty) of all. Raises StoreUnavailableError."""
    async with postgres.acquired(pool, "reading the audit log", seconds=SECONDS) as c:
        return [Entry(**row) for row in await c.fetch(SQL["page"], before, tenant_id, size)]


async def forget(c: Connection, days: float, most: int) -> str:
    """Removes entries that are older; answers what Postgres says it did."""
    return str(await c.execute(SQL["forget"], days, most))
