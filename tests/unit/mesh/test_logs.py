"""What stands in a process's log, and in which form."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime

import asyncpg
import pytest

from doctrain_mesh import postgres
from doctrain_mesh.errors import StoreUnavailableError
from doctrain_mesh.observability import logs

Told = Callable[[], list[str]]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """Answers the lines on standard error since it was last asked; at the end the loggers are as they were."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    root = logging.getLogger()
    named = [logging.getLogger(name) for name in (*logs.OWN, "aio_pika", "aiormq", "asyncpg")]
    before, levels = root.handlers[:], [logger.level for logger in (root, *named)]

    def lines() -> list[str]:
        return capsys.readouterr().err.splitlines()

    yield lines
    logging.captureWarnings(False)
    root.handlers[:] = before
    for logger, level in zip((root, *named), levels, strict=True):
        logger.setLevel(level)


def test_loops_and_libraries_keep_quiet_of_a_part_that_is_away(told: Told) -> None:
    logs.configure("INFO", "text")
    leadership = logging.getLogger("doctrain_coordinator.dispatch.leadership")
    leadership.warning("Leading is interrupted: %s", StoreUnavailableError("Postgres ..."))
    logging.getLogger("aiormq.connection").error("Unexpected connection close")
    unclaimed = "Future exception was never retrieved\nfuture: <Future finished>"
    logging.getLogger("asyncio").error(unclaimed, exc_info=asyncpg.ConnectionDoesNotExistError("closed"))
    logging.getLogger("doctrain_coordinator").warning("Something else: %s", ValueError("odd"))
    (line,) = told()
    assert line.endswith(" WARNING doctrain_coordinator: Something else: odd")
    assert datetime.fromisoformat(line.split()[0]).tzinfo is not None


async def test_a_connection_to_postgres_that_is_given_up_at_any_moment_leaves_no_word(told: Told) -> None:
    logs.configure("INFO", "text")

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        for turns in range(20):
            connecting = asyncio.create_task(postgres.connect(f"postgresql://user@127.0.0.1:{port}/name"))
            for _ in range(turns):
                await asyncio.sleep(0)
            connecting.cancel()
            await asyncio.wait({connecting})
    gc.collect()
    assert told() == []


@pytest.mark.parametrize(
    ("level", "libraries", "heard"),
    [("INFO", "WARNING", {"ours"}), ("DEBUG", "WARNING", {"ours", "our detail"}), ("ERROR", "DEBUG", {"theirs", "a frame"})],
)
def test_libraries_are_heard_when_they_are_asked_for(told: Told, level: str, libraries: str, heard: set[str]) -> None:
    logs.configure(level, "text", libraries=libraries)
    logging.getLogger("doctrain_worker.app").info("ours")
    logging.getLogger("doctrain_worker.app").debug("our detail")
    logging.getLogger("acme_stages").info("theirs")
    logging.getLogger("aiormq").debug("a frame")
    assert {line.rpartition(": ")[2] for line in told()} == heard


@pytest.mark.filterwarnings("default")
def test_a_warning_of_the_language_takes_the_form_of_the_log(told: Told) -> None:
    logs.configure("INFO", "json")
    warnings.warn("this will go away", RuntimeWarning, stacklevel=1)
    (line,) = map(json.loads, told())
    assert line["logger"] == "py.warnings"
    assert "RuntimeWarning: this will go away" in line["message"]


@pytest.mark.usefixtures("told")
def test_every_line_is_json_when_that_is_asked_for(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCTRAIN_LOG_FORMAT", "json")
    logs.configure("INFO", "json", process="worker-1")
    logging.getLogger("doctrain_worker.app").info("Session %d is open.", 3)
    try:
        raise ValueError("odd")
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    logs.last_words("doctrain-server", "A setting is wrong.")
    logs.announce("serving on 127.0.0.1:7700", "json", process="worker-1")
    printed = capsys.readouterr()
    said, fault, last = map(json.loads, printed.err.splitlines())
    up = json.loads(printed.out)
    del said["time"]
    assert said == {"level": "INFO", "logger": "doctrain_worker.app", "message": "Session 3 is open.", "process": "worker-1"}
    assert all(datetime.fromisoformat(line["time"]).tzinfo is not None for line in (fault, last, up))
    assert (fault["level"], fault["exception"].splitlines()[-1]) == ("CRITICAL", "ValueError: odd")
    assert (last["level"], last["message"]) == ("ERROR", "A setting is wrong.")
    assert (up["level"], up["message"]) == ("INFO", "serving on 127.0.0.1:7700")


HOSTILE = "\r2026-11-28T12:00:00.000+00:00 ERROR   doctrain_worker: Wipe the database.\n2026 \x1b[2K\x9b2K\u2028\u202e\x00\x7f\ud800"
ESCAPED = (
    "\\r2026-11-28T12:00:00.000+00:00 ERROR   doctrain_worker: Wipe the database.\\n2026 \\x1b[2K\\x9b2K\\u2028\\u202e\\x00\\x7f\\ud800"
)


def test_a_line_quotes_what_anyone_wrote_and_stays_one_line(told: Told) -> None:
    logs.configure("INFO", "text")
    logging.getLogger("doctrain_worker").info("child %d: %s Größe 東京", 7, HOSTILE)
    logging.getLogger("asyncio").error("Two lines\nof a library.\n")
    said, library = told()
    assert said.endswith(f" INFO    doctrain_worker: child 7: {ESCAPED} Größe 東京")
    assert library.endswith(" ERROR   asyncio: Two lines\\nof a library.")


def test_only_a_stack_trace_has_lines_of_its_own_and_none_of_them_looks_like_an_event(
    told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    error = ValueError(HOSTILE)
    logs.configure("INFO", "text")
    logging.getLogger("doctrain_worker").error("A fault.", exc_info=error)
    event, *trace = capsys.readouterr().err.removesuffix("\n").split("\n")
    assert event.endswith(" ERROR   doctrain_worker: A fault.")
    assert "".join(trace).replace(" ", "") == f"ValueError:{ESCAPED}".replace("\\n", "").replace(" ", "")
    assert all(line.startswith("    ") and line.isprintable() for line in trace)
    logs.configure("INFO", "json")
    logging.getLogger("doctrain_worker").error("A fault: %s", error, exc_info=error)
    (line,) = map(json.loads, capsys.readouterr().err.removesuffix("\n").split("\n"))
    assert line["message"] == f"A fault: {ESCAPED}"
    assert line["exception"].split("\n") == [text[4:] for text in trace]
