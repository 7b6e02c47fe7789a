"""The command line's side of documents at once: what it shows of limits, and what it orders."""

from __future__ import annotations

from doctrain.v1 import fleet_pb2
from testkit.scripted_service import ScriptedService
from testkit.shell import Shell, lines


async def test_limits_on_concurrency_are_shown_and_ordered(shell: Shell, service: ScriptedService) -> None:
    assert (await shell("concurrency")).stdout.splitlines() == ["No plans.", "Nothing was decided yet."]
    order = fleet_pb2.ConcurrencyOrder(kind=fleet_pb2.CONCURRENCY_ORDER_KIND_CAP, slots=2, key_id=3, reason="a full disk")
    order.subject.tenant_id = "acme"
    service.concurrency.plans.add(plan="team", slots=5, burst_slots=20, allowed_slots=8, current_slots=8)
    service.concurrency.tenant_orders.append(order)
    service.concurrency.decisions.add(plan="team", slots_before=5, slots_after=8, reason="Work waits.")
    told = (await shell("concurrency")).stdout.splitlines()
    assert told[1].split() == ["team", "5", "20", "8", "-"]
    assert told[3].startswith("acme")
    assert "capped at 2" in told[3]
    assert told[3].endswith("by key 3: a full disk")
    assert "5 to 8" in told[5]
    assert told[5].endswith("Work waits.")
    assert lines(await shell("concurrency", "--json"))[0]["plans"][0]["allowed_slots"] == 8
    assert (await shell("concurrency", "pin", "--plan", "team", "7", "--reason", "a test")).stdout == "Plan team is pinned to 7.\n"
    assert (await shell("concurrency", "cap", "--tenant", "acme", "2")).stdout == "Tenant acme is capped at 2.\n"
    assert (await shell("concurrency", "clear", "--tenant", "acme")).stdout == "Tenant acme is under no order.\n"
    pin, cap = service.asked(fleet_pb2.SetConcurrencyRequest)
    assert (pin.subject.plan, pin.kind, pin.slots, pin.reason) == ("team", fleet_pb2.CONCURRENCY_ORDER_KIND_PIN, 7, "a test")
    assert (cap.subject.tenant_id, cap.kind, cap.slots) == ("acme", fleet_pb2.CONCURRENCY_ORDER_KIND_CAP, 2)
    neither = await shell("concurrency", "pin", "7")
    assert neither.exit_code != 0
    assert "Name a plan or a tenant" in neither.stderr
