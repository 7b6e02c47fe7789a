"""What operators ask of plans: which limits can be some, and what a plan becomes when some of them are changed."""

from __future__ import annotations

from doctrain.v1 import fleet_pb2 as pb
from doctrain_coordinator.rpc.violations import check_name
from doctrain_coordinator.tenants.provisioning import Plan
from doctrain_mesh.errors import invalid_field

MOST_SLOTS = 10_000
MOST_OPEN_TRAININGS, OPEN_TRAININGS = 1_000_000, 1_000
MOST_WATCHES = 1_000
LEAST_REQUESTS, MOST_REQUESTS = 0.001, 1_000_000.0


def put(plan: pb.Plan) -> Plan:
    """The whole plan that is asked for; raises InvalidRequestError."""
    check_name("plan.name", plan.name)
    return _checked(plan, "plan.")


def updated(before: Plan, request: pb.UpdatePlanRequest) -> Plan:
    """The plan with the limits that the request sets; raises InvalidRequestError."""
    plan = message(before)
    if before.burst_slots == before.slots:
        plan.burst_slots = 0
    for field, value in request.ListFields():
        setattr(plan, field.name, value)
    return _checked(plan, "")


def message(plan: Plan) -> pb.Plan:
    """The plan as it is told."""
    return pb.Plan(
        name=plan.name,
        slots=plan.slots,
        burst_slots=plan.burst_slots,
        open_trainings=plan.open_trainings,
        training_documents=plan.training_documents,
        open_documents=plan.open_documents,
        requests_per_second=plan.requests_per_second,
        watches=plan.watches,
        upload_bytes=plan.upload_bytes,
    )


def _checked(plan: pb.Plan, within: str) -> Plan:
    if not 1 <= plan.slots <= MOST_SLOTS:
        raise invalid_field(f"{within}slots", f"A plan allows 1 to {MOST_SLOTS:,} documents at once.")
    burst_slots = plan.burst_slots or plan.slots
    if not plan.slots <= burst_slots <= MOST_SLOTS:
        raise invalid_field(f"{within}burst_slots", f"A plan bursts up to {plan.slots:,} (its slots) to {MOST_SLOTS:,} documents at once.")
    open_trainings = plan.open_trainings or OPEN_TRAININGS
    if not 1 <= open_trainings <= MOST_OPEN_TRAININGS:
        raise invalid_field(f"{within}open_trainings", f"A plan allows 1 to {MOST_OPEN_TRAININGS:,} trainings that have not ended.")
    for field in ("training_documents", "open_documents", "upload_bytes"):
        if getattr(plan, field) < 0:
            raise invalid_field(f"{within}{field}", "A limit must not be negative; 0 is none.")
    if plan.requests_per_second and not LEAST_REQUESTS <= plan.requests_per_second <= MOST_REQUESTS:  # NaN is neither
        sentence = f"A plan allows {LEAST_REQUESTS} to {MOST_REQUESTS:,.0f} calls a second; 0 is no limit."
        raise invalid_field(f"{within}requests_per_second", sentence)
    if not 0 <= plan.watches <= MOST_WATCHES:
        raise invalid_field(f"{within}watches", f"A plan allows up to {MOST_WATCHES:,} watches at once; 0 means that many.")
    requests_per_second = plan.requests_per_second or 0.0  # -0 is 0
    further = plan.training_documents, plan.open_documents, requests_per_second, plan.watches, plan.upload_bytes
    return Plan(plan.name, plan.slots, burst_slots, open_trainings, *further)
