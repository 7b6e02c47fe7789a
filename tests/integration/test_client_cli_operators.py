"""The commands about the fleet, tenants and plans as operators use them, against a real server."""

from __future__ import annotations

import json

from doctrain.v1 import fleet_pb2, usage_pb2
from doctrain.v1 import training_pb2 as pb
from testkit.scripted_service import ScriptedService
from testkit.shell import Shell, lines


async def test_operators_commands(shell: Shell, service: ScriptedService) -> None:
    assert "silent for 7.5 s" in (await shell("workers")).stdout.splitlines()[1]
    assert "not in the registry" in (await shell("workers")).stdout
    service.registry_answers = False
    away = await shell("workers")
    assert "The registry did not answer" in away.stderr
    assert "connected" in away.stdout.splitlines()[2]
    assert lines(await shell("workers", "--json"))[0]["worker_id"] == "worker-1"
    cordoned = await shell("workers", "cordon", "worker-3", "--reason", "a new disk")
    assert "worker-3 takes no new work" in cordoned.stdout
    assert cordoned.stderr == ""
    row, reason = (await shell("workers")).stdout.splitlines()[3:]
    assert "cordoned" in row
    assert reason == "worker-3: Ordered: a new disk"
    assert lines(await shell("workers", "--json", "drain", "worker-3", "--within", "90"))[0] == {"worker_id": "worker-3"}
    assert service.asked(fleet_pb2.DrainWorkerRequest)[0].within.seconds == 90
    assert "drained" in (await shell("workers")).stdout.splitlines()[3]
    assert "worker-3 takes work again" in (await shell("workers", "uncordon", "worker-3")).stdout
    service.kept_out["worker-3"] = fleet_pb2.WORKER_HEALTH_UNSUBSCRIBED, "It is."
    assert "cut off from RabbitMQ" in (await shell("workers")).stdout.splitlines()[3]
    unknown = await shell("workers", "uncordon", "nobody")
    assert (unknown.exit_code, "No worker named 'nobody'" in unknown.stderr) == (4, True)
    wrong = await shell("keys", "revoke", "abc")
    assert "'abc' is not the number of a key; `doctrain keys list` shows the numbers under ID." in wrong.stderr
    queue = (await shell("queue")).stdout
    assert "Open: 40 documents." in queue
    assert "Shards: 3 waiting, of which 1 paused, 0 handed out, 0 running." in queue
    assert "acme    3, of which 1 paused  5/5" in queue
    assert "Broker: did not answer." in queue
    assert lines(await shell("queue", "--json"))[0]["tenants"][0]["slots"] == 5
    assert "rejected  -      It is no grant." in (await shell("dead-letters")).stdout
    assert lines(await shell("dead-letters", "--limit", "1", "--json"))[0]["cause"] == "rejected"
    assert "acme    free  1" in (await shell("tenants", "create", "acme", "--plan", "free")).stdout
    assert lines(await shell("tenants", "update", "acme", "--weight", "2.5", "--json"))[0]["plan"] == "free"
    assert (service.tenants["acme"].plan, service.tenants["acme"].weight) == ("free", 2.5)
    assert "There is no tenant 'nobody'." in (await shell("tenants", "update", "nobody", "--plan", "paid")).stderr
    assert len(lines(await shell("tenants", "list", "--json"))) == 1
    assert (await shell("plans", "list")).stdout == "No plans.\n"
    (put,) = lines(await shell("plans", "put", "paid", "--slots", "30", "--burst", "60", "--trainings", "9", "--watches", "4", "--json"))
    assert (put["name"], put["slots"], put["open_trainings"], put["watches"], put["upload_bytes"]) == ("paid", 30, 9, 4, "0")
    assert (await shell("plans", "list")).stdout.splitlines()[1].split() == ["paid", "30", "60", "9", "-", "-", "-", "4", "-"]
    await shell("plans", "put", "wide", "--slots", "1", "--requests-per-second", "1000000", "--open-documents", "20000000000")
    assert (await shell("plans", "list")).stdout.splitlines()[2].split()[5:7] == ["20,000,000,000", "1,000,000"]
    (updated,) = lines(await shell("plans", "update", "paid", "--upload-bytes", "5000", "--json"))
    assert (updated["slots"], updated["open_trainings"], updated["watches"], updated["upload_bytes"]) == (30, 9, 4, "5000")
    assert (await shell("plans", "update", "paid")).exit_code == 2
    none = await shell("plans", "update", "none", "--slots", "3", "--json")
    error = json.loads(none.stderr)["error"]
    assert (none.exit_code, error["reason"], error["sentence"].startswith("There is no plan 'none'")) == (4, "PLAN_NOT_FOUND", True)
    assert (await shell("plans", "delete", "paid")).stdout == "Plan paid is deleted.\n"
    made = await shell("keys", "create", "--tenant", "acme", "--label", "laptop")
    assert made.stdout == "a-new-key\n", "the key alone, so that a script can take it"
    assert "doctrain keys revoke 12" in made.stderr
    assert (await shell("keys", "revoke", "12")).stdout == "Key 12 is out of force.\n"
    await shell("keys", "create", "--role", "ROLE_WORKER")
    heading, *rows = (await shell("keys", "list")).stdout.splitlines()
    assert heading.split() == ["ID", "ROLE", "TENANT", "LABEL", "MADE", "EXPIRES", "REVOKED"]
    assert [row.split()[:4] for row in rows] == [["12", "tenant", "acme", "laptop"], ["13", "worker", "-", "-"]]
    assert rows[1].split()[-2:] == ["-", "-"]
    assert [key["key_id"] for key in lines(await shell("keys", "list", "--tenant", "acme", "--json"))] == ["12"]
    unknown = await shell("keys", "revoke", "999")
    assert (unknown.exit_code, unknown.stderr) == (4, "Error: There is no key 999.\n")


async def test_the_service_is_asked_for_trainings_in_the_states_that_are_given(shell: Shell, service: ScriptedService) -> None:
    assert "t-1" in (await shell("list", "--all-tenants", "--state", "failed", "--state", "cancelled")).stdout
    asked = service.asked(fleet_pb2.ListAllTrainingsRequest)[-1]
    assert list(asked.states) == [pb.TRAINING_STATE_FAILED, pb.TRAINING_STATE_CANCELLED]


async def test_operators_suspend_and_delete_tenants_and_see_usage_and_who_did_what(shell: Shell, service: ScriptedService) -> None:
    await shell("tenants", "create", "acme", "--plan", "free")
    assert "suspended: Unpaid" in (await shell("tenants", "suspend", "acme", "--reason", "Unpaid")).stdout
    assert "acme    free  1       active" in (await shell("tenants", "resume", "acme")).stdout
    unsure = await shell("tenants", "delete", "acme", "--confirm", "acne")
    assert (unsure.exit_code, "--confirm acme" in unsure.stderr, "acme" in service.tenants) == (2, True, True)
    assert (await shell("tenants", "delete", "acme")).exit_code == 2
    assert "deleting" in (await shell("tenants", "delete", "acme", "--confirm", "acme")).stdout
    assert "acme" not in service.tenants
    await shell("keys", "create", "--tenant", "acme", "--days", "1.5")
    assert service.asked(fleet_pb2.CreateKeyRequest)[0].lifetime.seconds == 129_600
    assert "'yesterday' is no day; write year, month and day, such as 2026-05-31." in (await shell("usage", "--from", "yesterday")).stderr
    assert (await shell("usage")).stdout == "Nothing was used in these days.\n"
    service.usage = [usage_pb2.UsageDay(day=f"2026-05-0{day}", trained=1_000, failed=2, pages=7, bytes=3_000_000) for day in (1, 2)]
    service.usage[0].stages.add(stage="read").duration.FromSeconds(125)
    for command in (("usage",), ("tenants", "usage", "acme")):
        told = (await shell(*command, "--from", "2026-05-01", "--to", "2026-05-31")).stdout.splitlines()
        assert told[1].split() == ["2026-05-01", "1,000", "0", "2", "7", "3.0", "MB", "read", "2", "min", "5", "s"]
        assert told[3].split()[:5] == ["all", "2,000", "0", "4", "14"]
    for request in (*service.asked(pb.GetUsageRequest)[1:], *service.asked(fleet_pb2.GetTenantUsageRequest)):
        assert (request.period.first_day, request.period.last_day) == ("2026-05-01", "2026-05-31")
    assert (await shell("audit")).stdout == "Nothing was changed.\n"
    none = await shell("audit", "--tenant", "nope")
    assert (none.exit_code, none.stdout) == (0, "The audit log has nothing of a tenant 'nope'.\n"), (
        "one that was deleted is looked for, too"
    )
    entry = fleet_pb2.AuditEntry(role=fleet_pb2.ROLE_OPERATOR, key_id=3, call="PutPlan", outcome="OK", sentence="Plan gold was set")
    entry.time.FromSeconds(1_800_000_000)
    service.audit_log = [entry]
    assert "operator (key 3)  PutPlan  OK       Plan gold was set" in (await shell("audit", "--tenant", "acme")).stdout
    assert lines(await shell("audit", "--json"))[0]["sentence"] == "Plan gold was set"


async def test_a_tenant_is_told_its_limits_and_what_of_them_is_in_use(shell: Shell, service: ScriptedService) -> None:
    service.limits = pb.GetLimitsResponse(
        plan="team",
        slots=pb.Allowance(used=2, limit=30),
        upload_bytes=pb.Allowance(used=3_000_000),
        training_documents=20_000_000_000,
        requests_per_second=2_000_000,
        suspended=True,
        suspend_reason="Unpaid",
        document_bytes=5_000_000,
        request_bytes=64_000_000,
        request_documents=20_000,
        request_fields=500_000,
    )
    told = (await shell("limits")).stdout.splitlines()
    assert told[0] == "Plan team, suspended: Unpaid."
    assert told[2].split()[-2:] == ["2", "30"]
    assert told[5].split() == ["uploads", "3.0", "MB", "any"]
    assert told[6].split()[-2:] == ["-", "20,000,000,000"]
    assert told[7].split()[-2:] == ["-", "2,000,000"]
    assert told[8].split()[-1] == "1,000"
    assert told[9].split()[-2:] == ["5.0", "MB"]
    assert [line.split()[-1] for line in told[11:]] == ["20,000", "500,000"]
    assert told[10].split()[-2:] == ["64.0", "MB"]
    assert lines(await shell("limits", "--json"))[0]["slots"] == {"used": "2", "limit": "30"}
