"""The look at the settings beside a service that starts: it warns, and nothing that it meets ends the service."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from doctrain_mesh.registry import membership
from doctrain_mesh.registry.memory import MemoryRegistry
from doctrain_mesh.settings import Settings
from doctrain_server import adapters
from doctrain_server.doctor import embedding, examination
from doctrain_server.doctor.embedding import examine_embedding
from doctrain_server.doctor.finding import Verdict
from doctrain_server.doctor.warning import warning
from doctrain_worker.sandbox.main import isolation
from doctrain_worker.sandbox.shared.launch import Held
from testkit import embedding_server
from testkit.waiting import wait_until


async def test_a_ca_that_cannot_be_read_is_a_finding_and_not_the_services_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(coordinators="127.0.0.1:1", tls_ca=str(tmp_path / "none.pem"))
    async with warning(settings, documents=False):
        await wait_until(
            lambda: f"coordinator 127.0.0.1:1: DOCTRAIN_TLS_CA names the file {tmp_path}/none.pem, which does not exist." in caplog.text
        )


async def test_a_look_that_fails_ends_no_service(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_wanted: str, _reads: Sequence[str]) -> isolation.Isolation:
        raise RuntimeError("a test says so")

    monkeypatch.setattr(isolation, "choose", fail)
    async with warning(Settings(), documents=False):
        pass
    async with warning(Settings(), documents=True):
        await wait_until(lambda: "The settings could not be looked at." in caplog.text)
    assert "a test says so" in caplog.text


async def test_a_slow_look_at_the_sandbox_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = threading.Event(), threading.Event()

    def slow(_wanted: str, _reads: Sequence[str]) -> isolation.Isolation:
        asked.set()
        answer.wait(20)
        return isolation.Isolation("rlimit", (), Held(own_user=False, landlock=0, filtered=False))

    monkeypatch.setattr(isolation, "choose", slow)
    async with warning(Settings(), documents=True):
        await wait_until(asked.is_set)
        await asyncio.sleep(0)
        assert not answer.is_set(), "the loop went on meanwhile"
        answer.set()


async def test_the_sandbox_is_looked_at_with_what_its_children_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, Sequence[str]]] = []

    def note(wanted: str, reads: Sequence[str]) -> isolation.Isolation:
        asked.append((wanted, reads))
        raise isolation.IsolationUnavailableError("a test says so")

    monkeypatch.setattr(isolation, "choose", note)
    async with warning(Settings(sandbox="rlimit", embedding=f"onnx:{tmp_path}"), documents=True):
        await wait_until(lambda: asked)
    assert asked == [("rlimit", [str(tmp_path)])]


async def test_the_embedding_model_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def verdicts(**chosen: object) -> list[tuple[Verdict, str]]:
        return [(finding.verdict, finding.sentence) for finding in await examine_embedding(Settings(**chosen))]  # type: ignore[arg-type]

    assert await verdicts() == [(Verdict.OK, "By the model that comes with doctrain.")]
    assert (await verdicts(embedding=f"onnx:{tmp_path}"))[0][0] is Verdict.OK
    assert (await verdicts(embedding=f"onnx:{tmp_path}/none"))[0][0] is Verdict.BAD
    with embedding_server.serve() as server:
        asked = {"embedding": f"openai:{server.url}", "embedding_model": "m", "embedding_key": "sk-1"}
        good, bad = [await verdicts(**asked, embedding_dimensions=size) for size in (embedding_server.DIMENSIONS, 99)]
    assert good == [(Verdict.OK, "The endpoint answers with 12 numbers a text; the index calls it openai-m-12.")]
    assert bad[0][0] is Verdict.BAD
    monkeypatch.setattr(embedding, "ANSWER_SECONDS", 0.2)
    (away, open_way) = await verdicts(embedding="openai:http://192.0.2.1:1/v1", embedding_model="m", embedding_dimensions=3)
    assert (away[0], open_way[0]) == (Verdict.BAD, Verdict.BAD)
    assert "without TLS" in open_way[1]


async def test_the_database_must_have_room_for_all_whom_the_registry_names(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = MemoryRegistry()

    @asynccontextmanager
    async def opened(_settings: Settings) -> AsyncIterator[MemoryRegistry]:
        yield registry

    async def said() -> tuple[Verdict, str]:
        found = await examination.examine(Settings(database_url=postgres, registry_url="etcd://of-this-test", children=2), documents=False)
        return next((finding.verdict, finding.sentence) for finding in found if finding.subject == "max_connections")

    monkeypatch.setattr(adapters, "open_registry", opened)
    assert (await said())[0] is Verdict.OK
    for number in range(5_000):
        await registry.register(f"{membership.WORKERS}worker-{number}", b"{}", 10)
    verdict, sentence = await said()
    assert verdict is Verdict.BAD
    assert "1 coordinator and 5000 workers of 2 children of each kind may open up to 20050;" in sentence
