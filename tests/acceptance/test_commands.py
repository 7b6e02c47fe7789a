"""``doctrain-server`` as an operator has it: what it prints when all is well, and the one sentence when it is not."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from doctrain_coordinator import app as coordinator
from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.registry.memory import MemoryRegistry
from doctrain_mesh.settings import Settings
from testkit.certificates import self_signed
from testkit.etcd import EtcdServer
from testkit.postgres import make_tenant_role
from testkit.rabbitmq import QueuePlace
from testkit.web import serve

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("commands")]
NO_BROKER = {"DOCTRAIN_BROKER_URL": "amqp://127.0.0.1:1/"}
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("DOCTRAIN_")}


async def run(*arguments: str, **settings: str) -> tuple[int, list[str], list[str]]:
    """Exit status, and the lines on standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "doctrain_server", *arguments),
        env={**CLEAN, **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode().splitlines(), err.decode().splitlines()


@asynccontextmanager
async def distrustful() -> AsyncIterator[str]:
    """A Postgres that refuses every password, as far as a client sees of it; yields its URL."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big") - 4)
        if asked == (80877103).to_bytes(4, "big"):  # TLS? No.
            writer.write(b"N")
            await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big") - 4)
        fields = b'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "me"\0\0'
        writer.write(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        yield f"postgresql://me:hunter2@127.0.0.1:{server.sockets[0].getsockname()[1]}/mesh"


async def refused(url: str, command: str = "migrate") -> tuple[int, str]:
    status, out, err = await run(
        command, DOCTRAIN_DATABASE_URL=url, DOCTRAIN_BLOB_URL="memory:///", DOCTRAIN_LISTEN="127.0.0.1:0", **NO_BROKER
    )
    assert out == []
    assert len(err) == 1, err
    assert "hunter2" not in err[0]
    return status, err[0]


async def test_a_database_that_cannot_be_used_is_told_in_a_sentence(postgres: str) -> None:
    server, _, _ = postgres.rpartition("/")
    place = server.rpartition("@")[2]
    status, said = await refused("")
    assert status == os.EX_CONFIG
    assert said.startswith("doctrain-server: DOCTRAIN_DATABASE_URL is not set; write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    assert (await refused("nonsense"))[0] == os.EX_CONFIG
    status, said = await refused("postgresql://me:hunter2@127.0.0.1:1/mesh")
    assert (status, said) == (1, "doctrain-server: The Postgres at 127.0.0.1:1 did not answer: Connection refused.")
    _, said = await refused(f"{server}/nowhere", "coordinator")
    assert said.startswith(f"doctrain-server: The Postgres at {place} has no database 'nowhere'; create it")
    _, said = await refused(f"postgresql://stranger:hunter2@{place}/postgres")
    assert said.startswith(f"doctrain-server: The Postgres at {place} does not let 'stranger' in (role \"stranger\" does not exist)")
    async with distrustful() as url:
        _, said = await refused(url)
    assert "does not accept the password of 'me'; correct it in DOCTRAIN_DATABASE_URL." in said


WORKER = {
    **NO_BROKER,
    "DOCTRAIN_DATABASE_URL": "postgresql://me@127.0.0.1:1/mesh",
    "DOCTRAIN_BLOB_URL": "memory:///",
    "DOCTRAIN_WORKER_KEY": "dt_worker_any",
    "DOCTRAIN_COORDINATORS": "127.0.0.1:1",
    "DOCTRAIN_LISTEN": "127.0.0.1:0",
}


@pytest.mark.parametrize(
    ("command", "wrong", "said"),
    [
        ("coordinator", {"DOCTRAIN_TLS_CERTIFICATE": "/none"}, "DOCTRAIN_TLS_CERTIFICATE is set, but DOCTRAIN_TLS_KEY is not set"),
        (
            "coordinator",
            {"DOCTRAIN_TLS_CERTIFICATE": "/none", "DOCTRAIN_TLS_KEY": "/none"},
            "DOCTRAIN_TLS_KEY names the file /none, which does not exist.",
        ),
        (
            "coordinator",
            {"DOCTRAIN_TLS_CERTIFICATE": __file__, "DOCTRAIN_TLS_KEY": __file__},
            "DOCTRAIN_TLS_CERTIFICATE and DOCTRAIN_TLS_KEY do not hold a certificate and its key",
        ),
        ("worker", {"DOCTRAIN_TLS_CA": "/none"}, "DOCTRAIN_TLS_CA names the file /none, which does not exist."),
        ("coordinator", {"DOCTRAIN_BROKER_URL": "memory:"}, "DOCTRAIN_BROKER_URL is memory:, the stand-in of `doctrain dev` alone"),
        ("coordinator", {"DOCTRAIN_BLOB_URL": "file:///proc/none"}, "Documents cannot be kept in /proc/none, which cannot be made ("),
        ("worker", {"DOCTRAIN_BROKER_URL": "memory:"}, "DOCTRAIN_BROKER_URL is memory:, the stand-in of `doctrain dev` alone"),
        ("worker", {"DOCTRAIN_COORDINATORS": " "}, "The worker would find no coordinator: DOCTRAIN_REGISTRY_URL is memory:"),
        ("worker", {"DOCTRAIN_WORKER_KEY": ""}, "DOCTRAIN_WORKER_KEY is not set"),
        ("worker", {"DOCTRAIN_EMBEDDING": "onnx:/none"}, "/none is no folder that this user may read; see DOCTRAIN_EMBEDDING."),
        ("worker-main", {"DOCTRAIN_EMBEDDING": "onnx:/none"}, "/none is no folder that this user may read; see DOCTRAIN_EMBEDDING."),
    ],
)
async def test_a_service_with_a_wrong_setting_ends_with_a_sentence_for_good(
    postgres: str, command: str, wrong: dict[str, str], said: str
) -> None:
    status, out, err = await run(command, **{**WORKER, "DOCTRAIN_DATABASE_URL": postgres, **wrong})
    assert (status, out, len(err)) == (os.EX_CONFIG, [], 1), err
    assert err[0].startswith(f"doctrain-server: {said}")


async def test_migrate_says_what_it_did_and_refuses_what_another_build_made(empty_postgres: str) -> None:
    assert await run("migrate", DOCTRAIN_DATABASE_URL=empty_postgres) == (0, ["The database was empty; it has schema version 1 now."], [])
    assert await run("migrate", DOCTRAIN_DATABASE_URL=empty_postgres) == (0, ["The database has schema version 1 already."], [])
    connection = await asyncpg.connect(empty_postgres)
    try:
        await connection.execute("alter table schema_version drop column made_by")  # as builds before this one left it
        status, said = await refused(empty_postgres)
        assert status == os.EX_CONFIG
        assert "made by another pre-release build of doctrain, whose tables differ and are not carried over; give this one" in said
        await connection.execute("update schema_version set version = 7")
        assert "schema version 7; this program knows 1" in (await refused(empty_postgres))[1]
    finally:
        await connection.close()


async def test_bootstrap_makes_the_first_keys_once(postgres: str) -> None:
    status, out, _ = await run("bootstrap", DOCTRAIN_DATABASE_URL=postgres)
    made = json.loads("".join(out))
    assert status == 0
    assert made["operator_key"].startswith("dt_operator_")
    assert made["worker_key"].startswith("dt_worker_")
    assert made["operator_key_id"] != made["worker_key_id"]
    status, out, err = await run("bootstrap", DOCTRAIN_DATABASE_URL=postgres)
    assert (status, out) == (1, [])
    assert err[0].startswith("doctrain-server: There is an operator's key already")
    status, out, _ = await run("bootstrap", "--again", DOCTRAIN_DATABASE_URL=postgres)
    assert status == 0
    assert json.loads("".join(out))["operator_key_id"] not in {made["operator_key_id"], made["worker_key_id"]}


async def test_the_doctor_tells_what_is_missing_wrong_or_unsafe(empty_postgres: str, tmp_path: Path) -> None:
    asked = {
        "DOCTRAIN_DATABASE_URL": empty_postgres,
        "DOCTRAIN_WORKER_KEY": "dt_worker_wrong",
        "DOCTRAIN_COORDINATORS": "127.0.0.1:1",
        "DOCTRAIN_LISTEN": "0.0.0.0:7700",
    }
    status, before, _ = await run("doctor", **asked)
    assert status == 1
    assert "BAD  schema: No tables yet; `doctrain-server migrate` makes them, or the first coordinator that starts." in before
    await run("migrate", DOCTRAIN_DATABASE_URL=empty_postgres)
    _, out, err = await run("doctor", **asked)
    bad = {line.partition(":")[0]: line for line in out if line.startswith("BAD")}
    assert err == []
    assert {"BAD  blobs", "BAD  broker", "BAD  registry", "BAD  worker key", "BAD  transport", "BAD  coordinator 127.0.0.1"} <= bad.keys()
    assert "In-process stand-in (DOCTRAIN_BROKER_URL is memory:)" in bad["BAD  broker"]
    assert "ok   schema: Version 1, as this program's." in out
    keys = json.loads("".join((await run("bootstrap", DOCTRAIN_DATABASE_URL=empty_postgres))[1]))
    _, out, _ = await run("doctor", **{**asked, "DOCTRAIN_WORKER_KEY": keys["operator_key"]})
    assert "BAD  worker key: Is a key of role operator; a worker needs one of role worker." in out
    mended = {"DOCTRAIN_WORKER_KEY": keys["worker_key"], "DOCTRAIN_BLOB_URL": tmp_path.as_uri(), "DOCTRAIN_LISTEN": "127.0.0.1:0"}
    _, out, _ = await run("doctor", **{**asked, **mended})
    assert {"ok   worker key: Is known, of role worker.", f"ok   blobs: Kept in {tmp_path}."} <= set(out)
    assert not any(line.startswith("BAD  transport") for line in out)
    _, out, _ = await run("doctor", **{**asked, **mended, "DOCTRAIN_BLOB_URL": (tmp_path / "a" / "b").as_uri()})
    made = "the first service that starts makes it. It must be one that all services reach."
    assert f"BAD  blobs: There is no folder {tmp_path / 'a' / 'b'} yet; {made}" in out


async def test_the_doctor_tells_that_pgvector_is_to_be_added_by_a_superuser(empty_postgres: str) -> None:
    server, _, database = empty_postgres.rpartition("/")
    connection = await asyncpg.connect(empty_postgres)
    try:
        await connection.execute("drop extension if exists vector")
        await connection.execute(f"create role {database}_user login")
        await make_tenant_role(connection)
        own = f"postgresql://{database}_user@{server.rpartition('@')[2]}/{database}"
        _, out, _ = await run("doctor", DOCTRAIN_DATABASE_URL=own)
        (said,) = [line for line in out if "pgvector" in line]
        assert said.startswith("BAD  pgvector: Is not in this database, and its user may not add it; run as a superuser: ")
        command = said.partition("superuser: ")[2].rstrip(".")
        assert command == f"psql --dbname {database} --command 'create extension vector'"
        assert any(line.startswith("ok   pgvector: ") for line in (await run("doctor", DOCTRAIN_DATABASE_URL=empty_postgres))[1])
        await connection.execute("create extension vector")
        _, out, _ = await run("doctor", DOCTRAIN_DATABASE_URL=own)
        assert any(line.startswith("ok   pgvector: ") for line in out)
        (said,) = [line for line in out if "rows of tenants" in line]
        grant = f'grant doctrain_tenant to "{database}_user"'
        assert said.startswith("BAD  rows of tenants: This user may not read them as doctrain_tenant; run as a superuser, ")
        assert said.endswith(f"--command 'create role doctrain_tenant' --command '{grant}'.")
        await connection.execute(f"grant doctrain_tenant to {database}_user")
        assert "ok   rows of tenants: Are read as doctrain_tenant." in (await run("doctor", DOCTRAIN_DATABASE_URL=own))[1]
    finally:
        await connection.execute(f"drop role if exists {database}_user")
        await connection.close()


async def test_the_doctor_looks_into_a_bucket_and_says_why_it_does_not_answer(postgres: str) -> None:
    closed = {"AWS_ENDPOINT": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "hunter2"}
    _, out, _ = await run("doctor", DOCTRAIN_DATABASE_URL=postgres, DOCTRAIN_BLOB_URL="s3://bucket/blobs", **closed)
    (said,) = [line for line in out if "blobs" in line]
    assert said.startswith("BAD  blobs: s3://bucket/blobs: The object store did not answer")
    assert said.endswith(": connection refused: nothing listens there.")
    with serve() as site:
        answering = {**closed, "AWS_ENDPOINT": site.uri("")}
        asked = {"DOCTRAIN_DATABASE_URL": postgres, "DOCTRAIN_BLOB_URL": "s3://bucket/blobs", **answering}
        site.pages["/bucket"] = b'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>'
        assert "ok   blobs: Kept in s3://bucket/blobs, which answers." in (await run("doctor", **asked))[1]
        del site.pages["/bucket"]
        assert any("blobs" in line and line.endswith(": it has no such bucket.") for line in (await run("doctor", **asked))[1])


async def test_the_doctor_calls_nothing_well_where_nothing_is(postgres: str, own_etcd: EtcdServer, tmp_path: Path) -> None:
    status, out, _ = await run("doctor", "--data", str(tmp_path))
    assert status == 1
    assert out[-1].startswith(
        f"BAD  mesh: There is none to look at: no `doctrain dev` runs on {tmp_path}, and DOCTRAIN_DATABASE_URL is not"
    )
    await own_etcd.wipe()
    asked = {"DOCTRAIN_DATABASE_URL": postgres, "DOCTRAIN_REGISTRY_URL": own_etcd.url}
    _, out, _ = await run("doctor", **asked)
    assert any(line.startswith("BAD  coordinators: None is registered") for line in out)
    assert any(line.startswith("?    hold time: ") for line in out)


@pytest.mark.parametrize("place", [("doctor", "--json"), ("--json", "doctor")])
async def test_the_doctors_findings_are_json_for_scripts(place: tuple[str, str], tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "doctrain", *place), cwd=tmp_path, env=CLEAN, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    findings = {finding["subject"]: finding for finding in map(json.loads, out.splitlines())}
    assert findings["mesh"]["verdict"] == "bad"
    assert set(findings["mesh"]) == {"subject", "verdict", "sentence"}
    _, out_of_server, _ = await run("doctor", "--json", "--data", str(tmp_path), DOCTRAIN_LANES="none")
    wrong = {"subject": "settings", "verdict": "bad", "sentence": "DOCTRAIN_LANES is not a whole number."}
    assert list(map(json.loads, out_of_server)) == [wrong]


async def test_a_broker_that_refuses_the_password_is_told_when_a_coordinator_starts(
    postgres: str, rabbitmq: QueuePlace, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "doctrain_server", "coordinator"),
        env={
            **CLEAN,
            "DOCTRAIN_DATABASE_URL": postgres,
            "DOCTRAIN_BROKER_URL": rabbitmq.url.replace("guest:guest", "guest:hunter2"),
            "DOCTRAIN_BLOB_URL": tmp_path.as_uri(),
            "DOCTRAIN_LISTEN": "127.0.0.1:0",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            assert (await process.stdout.readline()).startswith(b"serving on 127.0.0.1:")
            while "RabbitMQ" not in (line := (await process.stderr.readline()).decode()):
                assert line
        assert "refused the user or password in DOCTRAIN_BROKER_URL" in line
        assert "hunter2" not in line
    finally:
        process.terminate()
        _, rest = await process.communicate()
    assert b"Traceback" not in rest


async def test_an_address_to_listen_on_is_looked_at_before_the_database(empty_postgres: str) -> None:
    asked = {"DOCTRAIN_DATABASE_URL": empty_postgres, "DOCTRAIN_BLOB_URL": "memory:///", **NO_BROKER}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        in_use = f"127.0.0.1:{taken.getsockname()[1]}"
        status, _, err = await run("coordinator", **asked, DOCTRAIN_LISTEN="127.0.0.1:0", DOCTRAIN_METRICS_LISTEN=in_use)
        assert (status, f"Metrics cannot be served on {in_use} (" in err[0]) == (os.EX_CONFIG, True)
        for listen, said in (("foo", "DOCTRAIN_LISTEN (in `doctrain dev` --listen) is 'foo'; it must be HOST:PORT"), (in_use, in_use)):
            status, _, err = await run("coordinator", **asked, DOCTRAIN_LISTEN=listen)
            assert (status, said in err[0]) == (os.EX_CONFIG, True)
    assert (await run("migrate", DOCTRAIN_DATABASE_URL=empty_postgres))[1] == ["The database was empty; it has schema version 1 now."]


async def test_a_health_check_takes_an_address_and_says_when_nobody_serves_there() -> None:
    status, out, err = await run("healthcheck", "127.0.0.1:1")
    assert (status, out, err) == (
        1,
        [],
        ["Error: Coordinator 127.0.0.1:1: Does not answer: connection refused: nothing listens there."],
    )
    _, _, err = await run("healthcheck", "127.0.0.1:1", DOCTRAIN_TLS_CA="/none")
    assert err == ["Error: Coordinator 127.0.0.1:1: DOCTRAIN_TLS_CA names the file /none, which does not exist."]


async def test_a_health_check_says_that_the_coordinator_speaks_tls(postgres: str, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    served = Settings(
        database_url=postgres,
        blob_url=(tmp_path / "blobs").as_uri(),
        listen="127.0.0.1:0",
        tls_certificate=str(certificate),
        tls_key=str(key),
    )
    async with coordinator.running(served, broker=MemoryBroker(), registry=MemoryRegistry()) as mesh:
        status, _, err = await run("healthcheck", mesh.address)
        assert (status, len(err)) == (1, 1)
        assert err[0].endswith("this server speaks TLS; name its authority by ca (--ca, DOCTRAIN_TLS_CA).")
        for variable in ("DOCTRAIN_TLS_CA", "DOCTRAIN_CA"):
            assert await run("healthcheck", mesh.address, **{variable: str(certificate)}) == (0, [], [])
        asked = {"DOCTRAIN_DATABASE_URL": postgres, "DOCTRAIN_BLOB_URL": served.blob_url, "DOCTRAIN_COORDINATORS": mesh.address}
        _, out, _ = await run("doctor", **asked, **NO_BROKER)
        unknown = "Does not answer: this server speaks TLS; name its authority by ca (DOCTRAIN_TLS_CA)."
        assert f"?    coordinator {mesh.address}: {unknown}" in out
        _, out, _ = await run("doctor", **asked, **NO_BROKER, DOCTRAIN_CA=str(certificate))
        assert f"ok   coordinator {mesh.address}: Serves." in out


@pytest.mark.parametrize("option", ["-h", "--help", "--version"])
async def test_it_says_what_it_is(option: str) -> None:
    status, out, err = await run(option)
    assert (status, err) == (0, [])
    assert "doctrain-server" in "".join(out) or "Commands:" in out


async def test_a_command_of_doctrain_is_told_to_be_one() -> None:
    code, _, said = await run("dev")
    assert (code, said[-1]) == (2, "Error: It is a command of doctrain: doctrain dev")
