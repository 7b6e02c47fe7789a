"""What the log tells of a part that is away: once, once a minute, and when it is back."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from doctrain_mesh.observability import outage
from doctrain_mesh.observability.outage import Outage


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_an_outage_is_told_once_each_minute_and_at_its_end(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "SETTLE_SECONDS", 0.0)
    clock = Clock()
    part = Outage("Postgres", clock)
    part.back()
    for _ in range(150):
        part.away("connecting: Connection refused.")
        clock.now += 1.0
    part.back()
    await asyncio.sleep(0.1)
    assert caplog.messages == [
        "Postgres is away: connecting: Connection refused. Work that needs it waits, and goes on by itself.",
        "Postgres has been away for 60 s: connecting: Connection refused.",
        "Postgres has been away for 120 s: connecting: Connection refused.",
        "Postgres is back after 150 s.",
    ]
    part.away("reading: no answer in time")
    assert caplog.messages[-1].startswith("Postgres is away: reading: no answer in time.")


async def test_a_part_that_fails_again_at_once_was_not_back(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    part = Outage("RabbitMQ", clock)
    for _ in range(5):
        part.away("a connection from before was reset")
        clock.now += 0.5
        part.back()
        clock.now += 0.4
    assert len(caplog.messages) == 1
    clock.now += 2
    part.back()
    assert caplog.messages[1:] == ["RabbitMQ is back after 4 s."]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 5432)"), "Connection refused"),
        (TimeoutError(), "no answer in time"),
        (RuntimeError("a cause\nover two lines"), "a cause over two lines"),
        (EOFError(), "EOFError"),
        (
            ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"),
            "TLS: [SSL: WRONG_VERSION_NUMBER] wrong version number",
        ),
    ],
)
def test_a_cause_is_one_line(error: Exception, sentence: str) -> None:
    assert outage.cause(error) == sentence


def test_a_part_that_work_does_not_need_says_so(caplog: pytest.LogCaptureFixture) -> None:
    Outage("etcd", Clock(), meanwhile="Work goes on.").away("connecting: no answer in time")
    assert caplog.messages == ["etcd is away: connecting: no answer in time. Work goes on."]
