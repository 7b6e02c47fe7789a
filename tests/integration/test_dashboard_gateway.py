"""The gateway of the dashboard: which calls go through, with whose rights, what is refused before that, and what every answer carries."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from doctrain.v1 import training_pb2
from doctrain_coordinator.web import borders, dashboard, files
from doctrain_coordinator.web.gateway import MOST_BYTES
from doctrain_coordinator.web.methods import METHODS
from doctrain_mesh.errors import ConfigurationError
from testkit.certificates import self_signed
from testkit.coordinator import Coordinators, coordinators
from testkit.waiting import wait_until

NUMBERED = {"training_task_id": "t", "numbered": {"uri_template": "https://example.com/{n}.txt", "first": 0, "count": 3}}


@dataclass
class Browser:
    """What a browser would send, without one."""

    served: Coordinators
    http: aiohttp.ClientSession
    tls: ssl.SSLContext | bool = True

    @property
    def url(self) -> str:
        return self.served.running[0].dashboard

    async def call(self, path: str, request: object = None, *, key: str = "", **headers: str) -> tuple[int, dict[str, Any]]:
        body = request if isinstance(request, bytes) else json.dumps(request or {}).encode()
        sent = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {}), **headers}
        async with self.http.post(f"{self.url}api/{path}", data=body, headers=sent, ssl=self.tls) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def browser(postgres: str, folder: Path, **settings: Any) -> AsyncIterator[Browser]:
    async with (
        coordinators(postgres, folder, dashboard_listen="127.0.0.1:0", **settings) as served,
        aiohttp.ClientSession(skip_auto_headers=["User-Agent"]) as http,
    ):
        yield Browser(served, http)


@pytest.fixture
async def page(postgres: str, tmp_path: Path) -> AsyncIterator[Browser]:
    async with browser(postgres, tmp_path) as made:
        yield made


@pytest.fixture
async def tenant_key(page: Browser) -> str:
    await page.served.tenant("acme")
    return await page.served.key(1, "acme")


@pytest.fixture
async def operator_key(page: Browser) -> str:
    return await page.served.key(3)


def reason(answer: dict[str, Any]) -> str:
    (info,) = (one for one in answer["error"]["details"] if one["@type"].endswith("google.rpc.ErrorInfo"))
    return str(info["reason"])


async def test_calls_go_through_with_the_rights_of_the_key_that_they_carry(page: Browser, tenant_key: str, operator_key: str) -> None:
    status, started = await page.call("TrainingService/StartTraining", NUMBERED, key=tenant_key)
    assert (status, started["training"]["training_task_id"], started["training"]["total"]) == (200, "t", 3)
    status, listed = await page.call("TrainingService/ListTrainings", key=tenant_key)
    assert [training["training_task_id"] for training in listed["trainings"]] == ["t"]
    status, fleet = await page.call("FleetService/ListWorkers", key=operator_key)
    assert (status, fleet) == (200, {"workers": [], "registry_answered": True, "health_alarm": ""})
    for path, key, expected in (
        ("FleetService/ListWorkers", tenant_key, (403, "PERMISSION_DENIED")),
        ("TrainingService/ListTrainings", operator_key, (403, "PERMISSION_DENIED")),
        ("TrainingService/ListTrainings", "dt_tenant_wrong", (401, "UNAUTHENTICATED")),
        ("TrainingService/ListTrainings", "", (401, "UNAUTHENTICATED")),
        ("TrainingService/ListTrainings", "schlüssel", (401, "UNAUTHENTICATED")),
    ):
        status, answer = await page.call(path, key=key)
        assert (status, reason(answer)) == expected


async def test_errors_are_those_of_the_api_with_their_sentence_and_details(page: Browser, tenant_key: str) -> None:
    status, answer = await page.call("TrainingService/GetTraining", {"training_task_id": "none"}, key=tenant_key)
    assert (status, answer["error"]["code"], reason(answer)) == (404, "NOT_FOUND", "TRAINING_NOT_FOUND")
    assert answer["error"]["message"] == "There is no training 'none'."
    status, answer = await page.call("TrainingService/ListTrainings", {"page_size": -1}, key=tenant_key)
    assert status == 400
    (bad,) = (one for one in answer["error"]["details"] if one["@type"].endswith("google.rpc.BadRequest"))
    assert bad["field_violations"][0]["field"] == "page_size"


async def test_only_calls_without_client_streams_are_offered_and_nothing_of_workers_is(page: Browser, operator_key: str) -> None:
    offered = {name for _, name in METHODS}
    assert {service for service, _ in METHODS} == {"TrainingService", "SearchService", "FleetService"}
    assert "UploadDocument" not in offered
    assert [name for (_, name), method in METHODS.items() if method.streams] == ["WatchStatus"]
    for path in ("TrainingService/UploadDocument", "TrackerService/Track", "Health/Check", "FleetService/Nothing", "doctrain.v1.x/y"):
        status, answer = await page.call(path, key=operator_key)
        assert (status, reason(answer)) == (404, "INVALID_REQUEST")


async def test_what_is_no_request_is_told_so(page: Browser, tenant_key: str) -> None:
    bodies = (b"[1]", b"[]", b'""', b"null", b"{", b"\xff", b'{"page_size": "many"}', b'{"nothing": 1}', b'{"\\ud800": 1}', b"[" * 60_000)
    sentence = "The body is not the JSON of a ListTrainingsRequest; send an object that has its fields, each of its type."
    for body in bodies:
        status, answer = await page.call("TrainingService/ListTrainings", body, key=tenant_key)
        assert (status, reason(answer), answer["error"]["message"]) == (400, "INVALID_REQUEST", sentence), body[:30]


async def said(page: Browser, request: bytes) -> bytes:
    """All that is answered to it."""
    reader, writer = await opened(page)
    writer.write(request)
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
        b"Transfer-Encoding: chunked\r\n\r\nno number\r\n",
    ],
)
async def test_a_body_that_is_not_what_its_headers_say_is_told_so(page: Browser, caplog: pytest.LogCaptureFixture, body: bytes) -> None:
    head = b"POST /api/FleetService/ListWorkers HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    assert (await said(page, head + body)).split(b" ")[1] == b"400"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_large_body_is_parsed_beside_the_loop(page: Browser, tenant_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    threads, parse = list[int](), json_format.Parse

    def told(text: str, message: Message) -> Message:
        threads.append(threading.get_ident())
        return parse(text, message)

    monkeypatch.setattr(json_format, "Parse", told)
    for count in (1, 4_500):
        status, _ = await page.call("TrainingService/ListTrainings", {"states": [1] * count}, key=tenant_key)
        assert status == (200 if count == 1 else 400)
    status, answer = await page.call("TrainingService/ListTrainings", {"states": [1] * 20_000}, key=tenant_key)
    assert (status, reason(answer)) == (413, "REQUEST_TOO_LARGE")
    small, large = threads
    assert small == threading.get_ident() != large


async def test_what_no_page_of_ours_would_send_is_refused(page: Browser, tenant_key: str) -> None:
    status, answer = await page.call("TrainingService/ListTrainings", b"x" * (MOST_BYTES + 1), key=tenant_key)
    assert (status, reason(answer)) == (413, "REQUEST_TOO_LARGE")
    status, answer = await page.call("TrainingService/ListTrainings", key=tenant_key, **{"Content-Type": "text/plain"})
    assert status == 400
    assert "application/json" in answer["error"]["message"]
    for host, expected in (
        ("rebound.example", 421),
        ("rebound.example:80", 421),
        ("127.0.0.1.rebound.example", 421),
        ("", 421),
        ("localhost:7780", 200),
        ("[::1]:7780", 200),
    ):
        status, _ = await page.call("TrainingService/ListTrainings", key=tenant_key, Host=host)
        assert status == expected, host
    async with page.http.get(f"{page.url}api/FleetService/ListWorkers") as got:
        assert got.status == 405


async def test_every_answer_shuts_the_page_in_and_only_its_own_files_are_served(page: Browser) -> None:
    for path in ("", "main.js", "views/fleet.js", "style.css", "nothing.js", "api/FleetService/ListWorkers", "..%2fgateway.py", "views"):
        async with page.http.get(page.url + path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'")
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert "Set-Cookie" not in answer.headers
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert answer.status == (200 if f"/{path}" in files.read() else 405 if path.startswith("api") else 404)
    async with page.http.get(page.url) as answer:
        tag = answer.headers["ETag"]
    async with page.http.get(page.url, headers={"If-None-Match": tag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nreflect\x01ed: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: reflected\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"reflected" * 1_000 + b"\r\n\r\n",
        b"GET /" + b"reflected" * 1_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"reflected\r\n\r\n",
    ],
)
async def test_what_is_no_request_of_http_is_answered_as_all_else_and_not_repeated(page: Browser, request_: bytes) -> None:
    head, _, body = (await said(page, request_)).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert status.split()[1] == "400"
    assert headers.items() >= borders.HEADERS.items()
    assert headers["Cache-Control"] == "no-store"
    assert reason(json.loads(body)) == "INVALID_REQUEST"
    assert b"reflected" not in body
    assert b"aiohttp" not in head


def test_the_page_asks_no_other_host_and_has_no_inline_script_or_style() -> None:
    for path, file in files.read().items():
        content = file.content.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in content, path
        assert "https:" not in content, path
        assert "innerHTML" not in content, path
        assert "style=" not in content, path
    index = files.read()["/"].content.decode()
    assert index.count("<script") == index.count('<script type="module" src="/')


async def test_a_watch_is_lines_until_the_training_has_ended(page: Browser, tenant_key: str) -> None:
    await page.call("TrainingService/StartTraining", NUMBERED, key=tenant_key)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {tenant_key}"}
    async with page.http.post(f"{page.url}api/TrainingService/WatchStatus", data=b'{"training_task_id":"t"}', headers=headers) as watch:
        assert watch.headers["Content-Type"] == "application/x-ndjson"
        first = json.loads(await watch.content.readline())
        assert first["training"]["state"] == "TRAINING_STATE_QUEUED"
        await page.call("TrainingService/CancelTraining", {"training_task_id": "t"}, key=tenant_key)
        rest = [json.loads(line) async for line in watch.content]
    assert [line["training"]["state"] for line in rest if line.get("training")][-1] == "TRAINING_STATE_CANCELLED"
    status, answer = await page.call("TrainingService/WatchStatus", {"training_task_id": "none"}, key=tenant_key)
    assert (status, reason(answer)) == (404, "TRAINING_NOT_FOUND")


async def test_a_watch_whose_browser_leaves_ends_and_one_of_a_revoked_key_says_why(
    page: Browser, tenant_key: str, operator_key: str
) -> None:
    await page.call("TrainingService/StartTraining", NUMBERED, key=tenant_key)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {tenant_key}"}
    watches = [
        await page.http.post(f"{page.url}api/TrainingService/WatchStatus", data=b'{"training_task_id":"t"}', headers=headers)
        for _ in range(2)
    ]
    for answer in watches:
        await answer.content.readline()
    watches[0].close()
    _, listed = await page.call("FleetService/ListKeys", {"tenant_id": "acme"}, key=operator_key)
    for key in listed["keys"]:
        await page.call("FleetService/RevokeKey", {"key_id": key["key_id"]}, key=operator_key)
    async with asyncio.timeout(30):
        *_, last = [line async for line in watches[1].content]
    assert reason(json.loads(last)) == "UNAUTHENTICATED"


async def test_a_coordinator_that_leaves_ends_its_watches_with_a_sentence(postgres: str, tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as http:
        async with coordinators(postgres, tmp_path, dashboard_listen="127.0.0.1:0") as served:
            client = await served.tenant("acme")
            numbered = training_pb2.NumberedDocuments(uri_template="https://example.com/{n}.txt", count=1)
            await client.start_training(numbered=numbered, training_task_id="t")
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {await served.key(1, 'acme')}"}
            url = f"{served.running[0].dashboard}api/TrainingService/WatchStatus"
            answer = await http.post(url, data=b'{"training_task_id":"t"}', headers=headers)
            await answer.content.readline()
        lines = [json.loads(line) async for line in answer.content]
    assert lines[-1]["error"]["code"] == "UNAVAILABLE"


async def test_it_speaks_tls_as_the_coordinator_does(postgres: str, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    async with browser(postgres, tmp_path, tls_certificate=str(certificate), tls_key=str(key)) as page:
        assert page.url.startswith("https://127.0.0.1:")
        page.tls = ssl.create_default_context(cafile=str(certificate))
        operator_key = await page.served.key(3)
        status, fleet = await page.call("FleetService/ListWorkers", key=operator_key)
        assert (status, fleet["workers"]) == (200, [])


async def test_an_address_that_is_taken_is_told_before_anything_is_changed(postgres: str, tmp_path: Path) -> None:
    async with browser(postgres, tmp_path) as page:
        taken = page.url.removeprefix("http://").rstrip("/")
        (tmp_path / "second").mkdir()
        with pytest.raises(ConfigurationError, match=f"The dashboard cannot listen on {taken}"):
            async with coordinators(postgres, tmp_path / "second", dashboard_listen=taken):
                pass


async def test_a_trace_goes_on_through_the_gateway(page: Browser, tenant_key: str) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    _, started = await page.call("TrainingService/StartTraining", NUMBERED, key=tenant_key, Traceparent=f"00-{trace}-b7ad6b7169203331-01")
    assert started["training"]["trace_id"] == trace


async def opened(page: Browser) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = page.url.removeprefix("http://").rstrip("/").rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def test_a_connection_too_many_is_closed_where_all_others_wait_for_an_answer(
    page: Browser, tenant_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "MOST_CONNECTIONS", 2)
    await page.call("TrainingService/StartTraining", NUMBERED, key=tenant_key)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {tenant_key}"}
    watches = [
        await page.http.post(f"{page.url}api/TrainingService/WatchStatus", data=b'{"training_task_id":"t"}', headers=headers)
        for _ in range(2)
    ]
    for watch in watches:
        await watch.content.readline()
    reader, writer = await opened(page)
    assert await reader.read() == b""
    for watch in watches:
        watch.close()
    writer.close()
    await writer.wait_closed()

    async def served() -> bool:
        try:
            return (await page.call("TrainingService/ListTrainings", key=tenant_key))[0] == 200
        except aiohttp.ClientConnectionError:
            return False

    await wait_until(served, what="served again")


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n", b"POST /api/FleetService/ListWorkers HTTP/1.1\r\nHost: localhost\r\n\r\n"]
)
async def test_who_sends_no_whole_request_gives_its_place_to_who_comes(
    page: Browser, operator_key: str, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(dashboard, "MOST_CONNECTIONS", 2)
    held = [await opened(page) for _ in range(2)]
    for _, writer in held:
        writer.write(sent.replace(b"\r\n\r\n", b"\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{"))
        await writer.drain()
    for _ in range(2):
        assert (await page.call("FleetService/ListWorkers", key=operator_key, Connection="close"))[0] == 200
    async with asyncio.timeout(5):
        assert await held[0][0].read() == b"", "the oldest"
    for _, writer in held:
        writer.close()


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02garbage\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n", b"GET / HTT", b""]
)
async def test_what_is_no_http_ends_without_a_word_in_the_log(page: Browser, caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    reader, writer = await opened(page)
    writer.write(sent)
    writer.write_eof()
    async with asyncio.timeout(20):
        await reader.read()
    writer.close()
    await writer.wait_closed()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
