"""The rules that can be broken, and how: by name, a patch for each module that it takes. Standard library only at first."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

Patch = Callable[[Any], None]


def _no_fencing(ledger: Any) -> None:
    """A report is recorded whoever holds the shard."""

    def accepts(self: Any, session: int, shard: int, number: int) -> bool:
        row = self.shards.get(shard)
        return row is not None and row.open > 0 and not self.trainings[row.training].state.ended

    ledger.Ledger.accepts = accepts


def _early_ack(holds: Any) -> None:
    """A message is acked as it comes."""
    attempt = holds.Holds._attempt

    async def ack_first(self: Any, hold: Any) -> bool:
        await hold.delivery.ack()
        return bool(await attempt(self, hold))

    holds.Holds._attempt = ack_first


def _no_take_back(takeback: Any) -> None:
    """What a lost session held stays with it."""

    async def take_back(self: Any, guard: Any, *, blame: Any, why: str) -> None:
        return None

    takeback.TakeBacks.take_back = take_back


def _no_deadline(link: Any) -> None:
    """The guardian is given no time after which to kill the children."""
    link.Guardian.extend = lambda self, deadline: True


def _no_limit(lifetime: Any) -> None:
    """The main process starts documents whatever it heard last, and when."""

    def extend(self: Any) -> bool:
        self.tenure.deadline = math.inf
        self._gate.extend(math.inf)
        return True

    lifetime.Lifetime.extend = extend


def _moving_redelivery(ledger: Any) -> None:
    """Whoever asks last has the shard."""
    begin = ledger.Ledger.begin

    def move(self: Any, session: int, shard: int, number: int) -> Any:
        row = self.shards.get(shard)
        if row is not None and row.state is ledger.ShardState.RUNNING and row.number == number and session in self._live:
            row.state = ledger.ShardState.DISPATCHED
        return begin(self, session, shard, number)

    ledger.Ledger.begin = move


def _no_adoption(holds: Any) -> None:
    """A second delivery of a shard that is held already is taken for another shard."""
    take, keep = holds.Holds.take, holds.Holds._keep

    async def take_again(self: Any, delivery: Any, group: Any) -> None:
        known = self._holds.pop(holds.delivered(delivery.message.body), None)
        await take(self, delivery, group)
        if known is not None and known.key not in self._holds:
            self._holds[known.key] = known

    async def keep_all(self: Any, hold: Any) -> None:
        try:
            await keep(self, hold)
        except KeyError:
            self._leave_lane(hold)

    holds.Holds.take, holds.Holds._keep = take_again, keep_all


def _two_leaders(grants: Any) -> None:
    """Every coordinator leads, and each grant takes a moment: which is safe as long as tenants are locked."""
    where = "where id = $1"
    assert where in grants.SQL["grant"]
    grants.SQL["grant"] = grants.SQL["grant"].replace(where, "where (select true from pg_sleep(0.05)) and id = $1")
    if os.environ.get("DOCTRAIN_NAME", "").endswith("2"):  # else both would take the same shards, and only one of them gets each
        assert "shard_number limit" in grants.SQL["runnable"]
        grants.SQL["runnable"] = grants.SQL["runnable"].replace("shard_number limit", "shard_number desc limit")


def _shared_lead(leadership: Any) -> None:
    leadership.SQL["lead"] = leadership.SQL["lead"].replace("pg_advisory_lock", "pg_advisory_lock_shared")


def _no_tenant_lock(grants: Any) -> None:
    """Grants count a tenant's slots without its lock."""
    _two_leaders(grants)
    lock = " for no key update"
    assert lock in grants.SQL["lock_tenants"]
    grants.SQL["lock_tenants"] = grants.SQL["lock_tenants"].replace(lock, "")


_GRANTS, _LEADERSHIP = "doctrain_coordinator.dispatch.grants", "doctrain_coordinator.dispatch.leadership"
_LEDGER, _TAKEBACK, _HOLDS = "doctrain_coordinator.core.ledger", "doctrain_coordinator.tracking.takeback", "doctrain_worker.shards.holds"

PATCHES: Mapping[str, Mapping[str, Patch]] = {
    "no fencing": {_LEDGER: _no_fencing},
    "ack before the commit": {_HOLDS: _early_ack},
    "no take-back": {_TAKEBACK: _no_take_back},
    "no self-fence": {"doctrain_worker.sandbox.main.link": _no_deadline, "doctrain_worker.tracking.lifetime": _no_limit},
    "a redelivery moves a shard": {_LEDGER: _moving_redelivery},
    "no adoption of doubled deliveries": {_HOLDS: _no_adoption},
    "grants without the tenant's lock": {_GRANTS: _no_tenant_lock, _LEADERSHIP: _shared_lead},
    "two leaders, with the lock": {_GRANTS: _two_leaders, _LEADERSHIP: _shared_lead},
}
