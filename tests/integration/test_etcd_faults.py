"""etcd killed, frozen, wiped, away: keys come back, watchers learn what they missed, and nobody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing
from functools import partial
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
from aetcd import rpc

from doctrain_mesh.errors import ConfigurationError, RegistryUnavailableError
from doctrain_mesh.ports import Change
from doctrain_mesh.registry import etcd
from doctrain_mesh.registry.etcd import MOST_VALUE_BYTES, REGISTER_SECONDS, EtcdRegistry
from doctrain_mesh.registry.etcd_endpoints import CALL_SECONDS
from doctrain_mesh.settings import Settings
from doctrain_server import adapters
from testkit.certificates import self_signed, signed
from testkit.etcd import EtcdServer
from testkit.server import free_port, own_server
from testkit.waiting import wait_until

pytestmark = [pytest.mark.etcd, pytest.mark.chaos, pytest.mark.xdist_group("etcd-faults")]

TTL_SECONDS = 2  # etcd's least is about one and a half


@pytest.fixture
async def registry(own_etcd: EtcdServer) -> AsyncIterator[EtcdRegistry]:
    async with EtcdRegistry(own_etcd.url) as registry:
        yield registry
        own_etcd.thaw()


@pytest.fixture
def key() -> str:
    return f"/{uuid4().hex}/worker"


def listed(registry: EtcdRegistry, key: str, value: bytes | None = b"1") -> Callable[[], object]:
    """A question: is the key there with this value (or, for None, not there), as etcd itself says?"""

    async def ask() -> bool:
        try:
            return (await registry.list(key)).get(key) == value
        except RegistryUnavailableError:
            return False

    return ask


async def test_after_a_kill_the_key_is_there_and_updates_go_on(own_etcd: EtcdServer, registry: EtcdRegistry, key: str) -> None:
    registration = await registry.register(key, b"0", TTL_SECONDS)
    own_etcd.kill()
    started = time.monotonic()
    with pytest.raises(RegistryUnavailableError, match="did not answer"):
        await registry.list(key)
    registration.update(b"1")  # waits for nobody
    assert time.monotonic() - started < CALL_SECONDS + 0.5
    await own_etcd.restart()
    await wait_until(listed(registry, key))
    registration.update(b"2")
    await wait_until(listed(registry, key, b"2"))


async def test_a_wiped_server_gets_the_keys_again_and_watchers_learn_of_it(own_etcd: EtcdServer, key: str) -> None:
    async with EtcdRegistry(own_etcd.url) as watching, aclosing(watching.watch(key)) as changes, AsyncExitStack() as owners:
        lasting, leaving = [await owners.enter_async_context(EtcdRegistry(own_etcd.url)) for _ in range(2)]
        await lasting.register(key, b"1", TTL_SECONDS)
        gone = await leaving.register(key + "-leaving", b"1", TTL_SECONDS)
        seen = {(await anext(changes)).key for _ in range(2)}
        assert seen == {key, key + "-leaving"}
        own_etcd.kill()
        await gone.close()  # unheard
        own_etcd.forget()
        await own_etcd.restart()
        async with asyncio.timeout(15):
            while await anext(changes) != Change(key + "-leaving", None):
                pass
        await wait_until(listed(watching, key))


async def test_a_frozen_server_holds_nobody_up(own_etcd: EtcdServer, registry: EtcdRegistry, key: str) -> None:
    first = await registry.register(key, b"1", TTL_SECONDS)
    own_etcd.freeze()
    started = time.monotonic()
    with pytest.raises(RegistryUnavailableError):
        await registry.list(key)
    assert time.monotonic() - started < CALL_SECONDS + 0.5
    started = time.monotonic()
    await registry.register(key + "-second", b"1", TTL_SECONDS)
    first.update(b"2")
    assert time.monotonic() - started < REGISTER_SECONDS + 0.5
    own_etcd.thaw()  # by now the first lease has lapsed
    await wait_until(listed(registry, key + "-second"))
    await wait_until(listed(registry, key, b"2"))


async def test_a_lapsed_lease_is_noticed_and_the_key_put_back(own_etcd: EtcdServer, registry: EtcdRegistry, key: str) -> None:
    await registry.register(key, b"1", TTL_SECONDS)
    async with aclosing(registry.watch(key)) as changes:
        assert await anext(changes) == Change(key, b"1")
        own_etcd.freeze()
        await asyncio.sleep(TTL_SECONDS + 1)  # as long as a lease lives without its refresh
        own_etcd.thaw()
        async with asyncio.timeout(10):
            assert await anext(changes) == Change(key, None)
            assert await anext(changes) == Change(key, b"1")


async def test_a_key_that_is_updated_all_the_time_outlives_its_lease(own_etcd: EtcdServer, registry: EtcdRegistry, key: str) -> None:
    registration = await registry.register(key, b"0", TTL_SECONDS)
    until = time.monotonic() + 2 * TTL_SECONDS
    async with aclosing(registry.watch(key)) as changes:
        async for change in changes:
            assert change.value is not None, "its lease lapsed"
            if time.monotonic() > until:
                return
            registration.update(str(time.monotonic()).encode())


async def test_a_key_outlives_a_loop_that_is_blocked_for_longer_than_its_lease(own_etcd: EtcdServer, key: str) -> None:
    program = (
        "import asyncio, sys, time; from doctrain_mesh.registry.etcd import EtcdRegistry\n"
        "async def main():\n"
        "    async with EtcdRegistry(sys.argv[1]) as registry:\n"
        f"        await registry.register(sys.argv[2], b'1', {TTL_SECONDS})\n"
        "        print('there', flush=True)\n"
        f"        time.sleep({3 * TTL_SECONDS})\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, own_etcd.url, key, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with EtcdRegistry(own_etcd.url) as watching, asyncio.timeout(30):
        assert await process.stdout.readline() == b"there\n"
        blocked = time.monotonic()
        async with aclosing(watching.watch(key)) as changes:
            assert await anext(changes) == Change(key, b"1")
            assert await anext(changes) == Change(key, None), "it leaves in order, once its loop goes on"
        assert time.monotonic() - blocked > 2.5 * TTL_SECONDS
        assert await process.wait() == 0


async def test_a_process_starts_before_etcd_and_is_known_when_it_comes(own_etcd: EtcdServer, key: str) -> None:
    own_etcd.kill()
    async with EtcdRegistry(own_etcd.url) as registry, aclosing(registry.watch(key)) as changes:
        started = time.monotonic()
        await registry.register(key, b"1", TTL_SECONDS)
        assert time.monotonic() - started < REGISTER_SECONDS + 0.5
        await own_etcd.restart()
        async with asyncio.timeout(10):
            assert await anext(changes) == Change(key, b"1")


async def test_leaving_while_etcd_is_away_takes_one_call_and_the_key_lapses(own_etcd: EtcdServer, key: str) -> None:
    async with EtcdRegistry(own_etcd.url) as registry:
        await registry.register(key, b"1", TTL_SECONDS)
        own_etcd.freeze()
        started = time.monotonic()
    assert time.monotonic() - started < CALL_SECONDS + 0.5
    own_etcd.thaw()
    async with EtcdRegistry(own_etcd.url) as registry:
        await wait_until(listed(registry, key, None))


async def test_the_key_of_a_killed_process_vanishes_with_its_lease(own_etcd: EtcdServer, registry: EtcdRegistry, key: str) -> None:
    program = (
        "import asyncio, sys; from doctrain_mesh.registry.etcd import EtcdRegistry\n"
        "async def main():\n"
        "    async with EtcdRegistry(sys.argv[1]) as registry:\n"
        f"        await registry.register(sys.argv[2], b'1', {TTL_SECONDS})\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, own_etcd.url, key)
    async with aclosing(registry.watch(key)) as changes, asyncio.timeout(20):
        assert await anext(changes) == Change(key, b"1")
        process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        await process.wait()
        assert await anext(changes) == Change(key, None)
        assert time.monotonic() - killed < TTL_SECONDS + 2


async def test_another_endpoint_answers_for_one_that_is_closed_or_deaf(own_etcd: EtcdServer, key: str) -> None:
    with deaf_port() as deaf:
        async with EtcdRegistry(f"etcd://127.0.0.1:{free_port()},127.0.0.1:{deaf},127.0.0.1:{own_etcd.port}") as registry:
            started = time.monotonic()
            assert await registry.list(key) == {}
            assert time.monotonic() - started < 2 * CALL_SECONDS + 0.5
            started = time.monotonic()
            await registry.register(key, b"1", TTL_SECONDS)  # the one that answered is asked first
            assert time.monotonic() - started < CALL_SECONDS
            assert await registry.list(key) == {key: b"1"}


async def test_listing_again_tells_nothing_twice(
    own_etcd: EtcdServer, registry: EtcdRegistry, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd, "RELIST_SECONDS", 0.05)
    registration = await registry.register(key, b"0", TTL_SECONDS)
    async with aclosing(registry.watch(key)) as changes, asyncio.timeout(10):
        assert await anext(changes) == Change(key, b"0")
        for number in range(1, 6):
            await asyncio.sleep(0.1)  # two lists or so
            registration.update(b"%d" % number)
            assert await anext(changes) == Change(key, b"%d" % number)


async def test_keys_and_values_of_others_end_no_list_and_no_watch(
    own_etcd: EtcdServer, registry: EtcdRegistry, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with grpc.aio.insecure_channel(own_etcd.url.removeprefix("etcd://")) as channel:
        put = rpc.KVStub(channel).Put

        async def write() -> None:
            await put(rpc.PutRequest(key=key.encode() + b"/\xff", value=b"1"))
            for number in range(6):  # together more than gRPC takes in one message by default
                await put(rpc.PutRequest(key=f"{key}/{number}".encode(), value=bytes(10**6)))

        await write()
        async with aclosing(registry.watch(key)) as changes, asyncio.timeout(20):
            assert await anext(changes) == Change(f"{key}/\\xff", b"1")
            await write()
            await put(rpc.PutRequest(key=f"{key}/good".encode(), value=b"1"))
            assert await anext(changes) == Change(f"{key}/good", b"1")
            await put(rpc.PutRequest(key=f"{key}/good".encode(), value=bytes(MOST_VALUE_BYTES + 1)))
            assert await anext(changes) == Change(f"{key}/good", None)
        assert await registry.list(key) == {f"{key}/\\xff": b"1"}
    assert sum("passed over" in entry.getMessage() for entry in caplog.records) == 7


async def test_tls_with_the_right_authority_and_with_a_wrong_one(tmp_path: Path, key: str) -> None:
    certificate, private_key = self_signed(tmp_path)
    stranger, _ = self_signed(tmp_path, "stranger")
    with own_server(partial(EtcdServer, tls=(certificate, private_key)), tmp_path) as server:
        async with EtcdRegistry(server.url, ca_file=str(certificate)) as registry:
            await registry.register(key, b"1", TTL_SECONDS)
            assert await registry.list(key) == {key: b"1"}
        async with EtcdRegistry(server.url, ca_file=str(stranger)) as registry:
            with pytest.raises(RegistryUnavailableError):
                await registry.list(key)


async def test_a_server_that_asks_for_certificates_is_shown_ours(tmp_path: Path, key: str) -> None:
    made = signed(tmp_path / "certs")
    ca, (shown, shown_key) = str(made.ca), map(str, made.client)
    with own_server(partial(EtcdServer, tls=made.server, of_clients=made.ca), tmp_path) as server:
        known = Settings(registry_url=server.url, registry_ca=ca, registry_certificate=shown, registry_key=shown_key)
        async with adapters.open_registry(known) as registry:
            await registry.register(key, b"1", TTL_SECONDS)
            assert await registry.list(key) == {key: b"1"}
        async with adapters.open_registry(Settings(registry_url=server.url, registry_ca=ca)) as registry:
            with pytest.raises(RegistryUnavailableError):
                await registry.list(key)


@pytest.mark.parametrize("url", ["http://127.0.0.1:2379", "etcd://", "etcd://a,,b", "etcd://user:password@host", "etcd"])
def test_a_wrong_url_is_said_at_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match="etcd://host:port"):
        EtcdRegistry(url)


def test_a_missing_certificate_is_said_at_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        EtcdRegistry("etcds://host", ca_file=str(tmp_path / "none.pem"))


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]
