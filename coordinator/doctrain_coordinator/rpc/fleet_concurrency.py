"""FleetService, of documents at once: how the limits stand, and what operators order of them."""

from __future__ import annotations

from typing import Any

from doctrain.v1 import fleet_pb2 as pb
from doctrain.v1 import fleet_pb2_grpc
from doctrain_coordinator.rpc import deeds
from doctrain_coordinator.rpc.plan_requests import MOST_SLOTS
from doctrain_coordinator.rpc.violations import check_name, check_reason, limit
from doctrain_coordinator.tenants.concurrency import Concurrency, ConcurrencyOrder, PastDecision, PlanLimits, Subject
from doctrain_mesh.errors import invalid_field


class ConcurrencyCalls(fleet_pb2_grpc.FleetServiceServicer):
    """The part of FleetService that is about documents at once."""

    def __init__(self, concurrency: Concurrency) -> None:
        self._concurrency = concurrency

    async def GetConcurrency(self, request: pb.GetConcurrencyRequest, context: Any) -> pb.GetConcurrencyResponse:
        standing = await self._concurrency.standing(limit(request.limit, 50, 500))
        return pb.GetConcurrencyResponse(
            plans=[_plan(plan) for plan in standing.plans],
            tenant_orders=[_order(order) for order in standing.tenant_orders],
            decisions=[_decision(decision) for decision in standing.decisions],
        )

    async def SetConcurrency(self, request: pb.SetConcurrencyRequest, context: Any) -> pb.SetConcurrencyResponse:
        subject = _subject(request.subject)
        if request.kind not in (pb.CONCURRENCY_ORDER_KIND_PIN, pb.CONCURRENCY_ORDER_KIND_CAP):
            raise invalid_field("kind", "An order is a pin (exactly so many) or a cap (at most so many).")
        if not 1 <= request.slots <= MOST_SLOTS:
            raise invalid_field("slots", f"An order is for 1 to {MOST_SLOTS:,} documents at once; to stop a tenant, suspend it.")
        check_reason(request.reason)
        pins = request.kind == pb.CONCURRENCY_ORDER_KIND_PIN
        with deeds.deed(str(subject), tenant_id=subject.tenant) as deed:
            await self._concurrency.order(subject, request.slots, pins=pins, reason=request.reason, deed=deed)
        return pb.SetConcurrencyResponse()

    async def ClearConcurrency(self, request: pb.ClearConcurrencyRequest, context: Any) -> pb.ClearConcurrencyResponse:
        subject = _subject(request.subject)
        with deeds.deed(str(subject), tenant_id=subject.tenant) as deed:
            await self._concurrency.clear(subject, deed=deed)
        return pb.ClearConcurrencyResponse()


def _subject(of: pb.ConcurrencySubject) -> Subject:
    """Raises InvalidRequestError."""
    match of.WhichOneof("whom"):
        case "plan":
            check_name("subject.plan", of.plan)
            return Subject(plan=of.plan)
        case "tenant_id":
            check_name("subject.tenant_id", of.tenant_id)
            return Subject(tenant=of.tenant_id)
        case _:
            raise invalid_field("subject", "Name a plan or a tenant.")


def _plan(plan: PlanLimits) -> pb.PlanConcurrency:
    return pb.PlanConcurrency(
        plan=plan.name,
        slots=plan.slots,
        burst_slots=plan.burst_slots,
        allowed_slots=plan.allowed,
        order=None if plan.order is None else _order(plan.order),
        current_slots=plan.current,
    )


def _order(order: ConcurrencyOrder) -> pb.ConcurrencyOrder:
    whom = {"plan": order.subject.plan} if order.subject.plan else {"tenant_id": order.subject.tenant}
    message = pb.ConcurrencyOrder(
        subject=pb.ConcurrencySubject(**whom),
        kind=pb.CONCURRENCY_ORDER_KIND_PIN if order.pins else pb.CONCURRENCY_ORDER_KIND_CAP,
        slots=order.slots,
        reason=order.reason,
        key_id=order.ordered_by,
    )
    message.order_time.FromDatetime(order.ordered_at)
    return message


def _decision(decision: PastDecision) -> pb.ConcurrencyDecision:
    message = pb.ConcurrencyDecision(
        plan=decision.plan, slots_before=decision.slots_before, slots_after=decision.slots_after, reason=decision.reason
    )
    message.decide_time.FromDatetime(decision.decided_at)
    return message
