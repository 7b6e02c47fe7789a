"""Connections between the parts with certificates: who gets in where, certificates that change while all runs, and who makes them."""

from __future__ import annotations

import asyncio
import datetime
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import doctrain
from doctrain import errors
from doctrain.cli.app import doctrain as command
from doctrain_coordinator.certificate import ServerCertificate
from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.settings import Settings, load
from doctrain_server import development_ca, healthcheck
from testkit.coordinator import Coordinators, coordinators
from testkit.waiting import wait_until
from testkit.worker import Documents, worker

NAMES = ("localhost", "127.0.0.1")
NOW = datetime.datetime.now(datetime.UTC)


def made(folder: Path) -> dict[str, dict[str, Any]]:
    """Certificates in a new folder, as settings of each part."""
    given = development_ca.write(folder, NAMES, days=2, now=NOW)
    return {
        who: {variable.removeprefix("DOCTRAIN_").lower(): value for variable, value in settings.items()} for who, settings in given.items()
    }


@asynccontextmanager
async def guarded(postgres: str, folder: Path, certificates: dict[str, dict[str, Any]]) -> AsyncIterator[Coordinators]:
    """A coordinator with an address for tenants and one for workers with certificates."""
    settings = {**certificates["coordinator"], "worker_listen": "127.0.0.1:0"}
    async with coordinators(postgres, folder, **settings) as served:
        yield served


async def attaches(served: Coordinators, log: pytest.LogCaptureFixture, address: str, **settings: Any) -> bool:
    """Whether a worker with these settings gets a session there before it is refused."""
    key = await served.key(2)
    log.clear()
    async with worker(MemoryBroker(), Documents(), address, worker_key=key, wait=False, **settings) as running:
        await wait_until(lambda: running.session.opened.is_set() or "refused the stream" in log.text)
        return running.session.opened.is_set()


@pytest.mark.usefixtures("scratch_root")
async def test_workers_need_a_certificate_of_their_authority_and_tenants_need_none(
    postgres: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificates, others = made(tmp_path / "ours"), made(tmp_path / "others")
    trusted = {"tls_ca": certificates["worker"]["tls_ca"]}
    async with guarded(postgres, tmp_path, certificates) as served:
        public, of_workers = served.running[0].address, served.running[0].address_of_workers
        assert public != of_workers
        assert await attaches(served, caplog, of_workers, **certificates["worker"])
        assert not await attaches(served, caplog, of_workers, **trusted)
        assert not await attaches(served, caplog, of_workers, **{**others["worker"], **trusted})
        assert not await attaches(served, caplog, public, **certificates["worker"]), "nobody asks for a certificate there"
        assert "This address takes no workers. Theirs is the one of DOCTRAIN_WORKER_LISTEN" in caplog.text

        await served.running[0].tenants.create("acme", "paid", 1.0)
        key = await served.key(1, "acme")
        async with doctrain.AsyncClient(public, api_key=key, ca=trusted["tls_ca"]) as client:
            assert [training async for training in client.list_trainings()] == []
        async with doctrain.AsyncClient(of_workers, api_key=key, ca=trusted["tls_ca"]) as client:
            with pytest.raises(errors.UnavailableError, match="those who show a certificate"):
                await client.get_training("t")


async def test_workers_find_their_address_in_the_registry_and_the_doctor_calls_it_as_they_do(postgres: str, tmp_path: Path) -> None:
    certificates = made(tmp_path / "ours")
    async with guarded(postgres, tmp_path, certificates) as served:
        address = served.running[0].address_of_workers
        (record,) = (await served.registry.list("/doctrain/")).values()
        assert f'"{address}"' in record.decode()
        for shown in (certificates["worker"], certificates["coordinator"]):
            assert await healthcheck.fault(address, Settings(**shown)) is None
        fault = await healthcheck.fault(address, Settings(tls_ca=certificates["worker"]["tls_ca"]))
        assert fault is not None
        assert "those who show a certificate" in fault.sentence


async def test_a_certificate_that_changes_is_served_without_a_restart(
    postgres: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = made(tmp_path / "first"), made(tmp_path / "second")
    own = {name: tmp_path / name for name in ("coordinator.pem", "coordinator.key", "ca.pem")}

    def put(folder: str, *names: str) -> None:
        for name in names:
            (tmp_path / "new").write_bytes((tmp_path / folder / name).read_bytes())
            (tmp_path / "new").replace(own[name])

    put("first", *own)
    settings: dict[str, Any] = {
        "tls_certificate": str(own["coordinator.pem"]),
        "tls_key": str(own["coordinator.key"]),
        "tls_worker_ca": str(own["ca.pem"]),
    }
    async with coordinators(postgres, tmp_path, worker_listen="127.0.0.1:0", dashboard_listen="127.0.0.1:0", **settings) as served:
        running = served.running[0]

        async def let_in(shown: dict[str, dict[str, Any]]) -> tuple[bool, bool, bool]:
            """Whether who trusts and shows these certificates is served on each of the three addresses."""
            tenant = await healthcheck.fault(running.address, Settings(tls_ca=shown["worker"]["tls_ca"]))
            of_workers = await healthcheck.fault(running.address_of_workers, Settings(**shown["worker"]))
            return tenant is None, of_workers is None, await trusts(running.dashboard, shown["worker"]["tls_ca"])

        assert (await let_in(first), await let_in(second)) == ((True,) * 3, (False,) * 3)
        put("second", "coordinator.pem")  # its key is to follow
        assert await let_in(first) == (True,) * 3
        assert "DOCTRAIN_TLS_CERTIFICATE and DOCTRAIN_TLS_KEY do not hold a certificate and its key" in caplog.text
        put("second", "coordinator.key", "ca.pem")
        assert (await let_in(first), await let_in(second)) == ((False,) * 3, (True,) * 3)


async def trusts(url: str, ca: str) -> bool:
    """Whether a browser that trusts this authority gets a connection to the dashboard."""
    host, _, port = url.removeprefix("https://").rstrip("/").partition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port), ssl=ssl.create_default_context(cafile=ca))
    except ssl.SSLCertVerificationError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def test_the_command_writes_for_the_owner_alone_prints_settings_that_fit_and_overwrites_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    result = CliRunner().invoke(command, ["certs", str(folder), "--name", "mesh.example", "--name", "10.0.0.7"])
    assert result.exit_code == 0
    assert {file.name for file in folder.iterdir()} == set(development_ca.FILES)
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    printed = result.output.split("# ")
    for part in printed[1:3]:
        settings = load(dict(line.split("=") for line in part.splitlines() if "=" in line))
        if settings.worker_listen:
            ServerCertificate(settings)
    assert "DOCTRAIN_ADVERTISE of each coordinator, and DOCTRAIN_COORDINATORS of workers, then name" in result.output
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    again = CliRunner().invoke(command, ["certs", str(folder)])
    assert again.exit_code != 0
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["host:7700", "", "a b", "http://host", "-x"])
def test_a_name_that_is_none_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="neither a host name nor an IP address"):
        development_ca.write(tmp_path / "certs", [name], days=2, now=NOW)
    assert not (tmp_path / "certs").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"WORKER_LISTEN": "0.0.0.0:7701"}, "DOCTRAIN_WORKER_LISTEN is set, but DOCTRAIN_TLS_WORKER_CA is not set"),
        ({"TLS_WORKER_CA": "ca.pem"}, "DOCTRAIN_TLS_WORKER_CA is set, but DOCTRAIN_WORKER_LISTEN is not set"),
        ({"WORKER_LISTEN": "0.0.0.0:7701", "TLS_WORKER_CA": "ca.pem"}, "DOCTRAIN_TLS_CERTIFICATE is not set"),
        ({"REGISTRY_CERTIFICATE": "a.pem"}, "DOCTRAIN_REGISTRY_CERTIFICATE is set, but DOCTRAIN_REGISTRY_KEY is not set"),
        ({"WORKER_LISTEN": "7701", "TLS_WORKER_CA": "c", "TLS_CERTIFICATE": "a", "TLS_KEY": "b"}, "DOCTRAIN_WORKER_LISTEN is '7701'"),
    ],
)
def test_half_a_setting_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load({f"DOCTRAIN_{name}": value for name, value in given.items()})
