"""When a call is made again: gRPC's own policy within one address, and ours from one address to the next.

UNAVAILABLE is retried, and CANCELLED, which is how a call ends that reaches a server in the moment of its shutting down (what this
client cancels itself does not come here). Within one channel gRPC does it by service config. gRPC for Python cannot balance over a fixed
list of host names (``ipv4:`` lists take numbers only, and one name for TLS), so every address has its own channel and the
walk over them is ours: quick to the next address, with a growing, jittered pause after each round.
"""

from __future__ import annotations

import json

import grpc
import grpc.aio

from doctrain import causes

ROUNDS = 3
"""How often all addresses are tried for one call, when there are several."""
PATIENCE_SECONDS = 60.0
"""How long an upload or the start of a training is tried while a service that has answered before is away: much work may lie before it."""
GONE_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
"""How a call ends when the service goes away, or is."""
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 3.0
HOP_PAUSE_SECONDS = 0.05
"""Longest pause before the next address of a round."""

# Every call keeps no state or names what it makes, so it may be sent twice; a key would be made twice. Streams are opened
# again by whoever reads or writes them, since gRPC can only retry them before their first message.
_REPEATABLE = {
    "doctrain.v1.TrainingService": (
        *("StartTraining", "GetTraining", "ListTrainings", "ListDocuments", "CancelTraining", "PauseTraining", "ResumeTraining"),
        *("RetryFailedDocuments", "ExplainTraining", "DropUploads", "GetUsage", "GetLimits"),
    ),
    "doctrain.v1.SearchService": ("Search", "DeleteDocuments", "GetIndex"),
    "doctrain.v1.FleetService": (
        *("ListWorkers", "CordonWorker", "UncordonWorker", "DrainWorker", "GetQueue", "ListAllTrainings", "ListDeadLetters"),
        *("GetConcurrency", "SetConcurrency", "ClearConcurrency"),
        *("CreateTenant", "UpdateTenant", "ListTenants", "PutPlan", "UpdatePlan", "ListPlans", "DeletePlan"),
        *("ListKeys", "RevokeKey", "SuspendTenant", "ResumeTenant", "DeleteTenant", "GetTenantUsage", "ListAuditLog"),
    ),
}


def service_config(addresses: int) -> str:
    """The gRPC service config of one channel, as JSON.

    The only address of a client is tried 5 times over about 4.5 s, long enough for a restart of the service. One of several
    is tried twice, so that the next one gets its turn soon.
    """
    policy = {
        "maxAttempts": 5 if addresses == 1 else 2,
        "initialBackoff": "0.3s" if addresses == 1 else "0.1s",
        "maxBackoff": f"{LONGEST_PAUSE_SECONDS:g}s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": [code.name for code in GONE_AWAY],
    }
    names = [{"service": service, "method": method} for service, methods in _REPEATABLE.items() for method in methods]
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": policy}]})


def gone_away(error: grpc.aio.AioRpcError) -> bool:
    """Whether the call ended as it does when the service goes away, or is; what it did until then is unknown."""
    return error.code() in GONE_AWAY


def unsent(error: grpc.aio.AioRpcError) -> bool:
    """Whether certainly nothing of the call was sent, so that one that may not be made twice may still be made.

    Only of calls that gRPC itself does not retry: of others it tells the last try alone.
    """
    return error.code() is grpc.StatusCode.UNAVAILABLE and causes.not_connected(error.details() or "")


def turns(addresses: int) -> int:
    """How many addresses one call may try in all. A single one is retried by gRPC alone."""
    return 1 if addresses == 1 else ROUNDS * addresses


def pause_seconds(failures: int, addresses: int, chance: float, retry_after_seconds: float | None = None) -> float:
    """How long to wait after so many failures in a row (1 or more); ``chance`` is random in [0, 1).

    Within a round the next address is tried nearly at once: that one is away says nothing of the others. After a round
    the pause doubles, spread over half to all of it so that clients do not come back together, and lasts at least as long
    as the service asked for.
    """
    if failures % addresses:
        return HOP_PAUSE_SECONDS * chance
    rounds = failures // addresses
    pause: float = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(rounds - 1, 10))
    return max(pause * (0.5 + chance / 2), retry_after_seconds or 0.0)
