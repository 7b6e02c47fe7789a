"""The log of a process: a line an event on standard error, as text for people or as JSON for machines.

Our own loggers and those of libraries have levels of their own, since what a library tells of each frame helps nobody who
looks for a document. What a service prints otherwise, that it serves or why it ends, takes the same form.

A line may quote what anyone wrote: characters that cannot be shown are escaped in it, so that nobody writes a line of his own or moves the
cursor of who reads. As text, only the stack trace of an event has further lines, which are indented.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import datetime
from types import TracebackType

from opentelemetry import trace

from doctrain_mesh.errors import BrokerUnavailableError, RegistryUnavailableError, StoreUnavailableError
from doctrain_mesh.shown import escaped

log = logging.getLogger(__name__)
OWN = ("doctrain", "doctrain_coordinator", "doctrain_mesh", "doctrain_server", "doctrain_worker")
FORM_VARIABLE = "DOCTRAIN_LOG_FORMAT"
JSON = "json"

_TOLD_BY_OUTAGE = (StoreUnavailableError, BrokerUnavailableError, RegistryUnavailableError)
_TOLD_BY_US = ("aio_pika", "aiormq", "asyncpg")
"""Libraries whose errors reach our own code, which tells what they mean."""
_GIVEN_UP = "unexpected connection_lost() call"
"""What asyncpg keeps of a connection that was given up as it was made: a ConnectionError of Python's own, of which only its words tell."""


def configure(level: str, form: str, *, libraries: str = "WARNING", process: str = "") -> None:
    """Sends the process's log to standard error.

    Args:
        level: what is told of doctrain itself, and all that is worse.
        form: ``text``, or ``json`` with the ids of traces.
        libraries: what is told of libraries and plug-ins.
        process: its name, which JSON lines carry.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(process) if form == JSON else _TextFormatter())
    if _number(level) > logging.DEBUG:
        handler.addFilter(_OnceAnOutage())
        handler.addFilter(_NobodyMissesIt())
    logging.basicConfig(level=libraries, handlers=[handler], force=True)
    for name in OWN:
        logging.getLogger(name).setLevel(level)
    if _number(libraries) >= logging.WARNING:
        for name in _TOLD_BY_US:
            logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.captureWarnings(True)
    if form == JSON:
        sys.excepthook = _log_end


def announce(sentence: str, form: str, *, process: str = "") -> None:
    """Says on standard output that the process is up: a sentence, or with ``json`` a line as the log's."""
    record = logging.LogRecord("doctrain_server", logging.INFO, "", 0, sentence, None, None)
    print(_JsonFormatter(process).format(record) if form == JSON else sentence, flush=True)  # noqa: T201 - to be read by whoever started it


def last_words(program: str, sentence: str) -> None:
    """Says on standard error why a program ends, in the form that its environment asks for; it may not have got as far as its settings."""
    if os.environ.get(FORM_VARIABLE) == JSON:
        record = logging.LogRecord("doctrain_server", logging.ERROR, "", 0, sentence, None, None)
        print(_JsonFormatter("").format(record), file=sys.stderr)  # noqa: T201
    else:
        print(f"{program}: {sentence}", file=sys.stderr)  # noqa: T201


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level]


def _log_end(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    log.critical("The process ends by a fault of its own.", exc_info=(kind, error, where))


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")


class _Formatter(logging.Formatter):
    def _message(self, record: logging.LogRecord) -> str:
        return escaped(record.getMessage().rstrip())

    def _trace(self, record: logging.LogRecord) -> list[str]:
        """The lines of the stack trace that belongs to it."""
        told = self.formatException(record.exc_info) if record.exc_info else record.stack_info or ""
        return [escaped(line) for line in told.split("\n")] if told else []


class _TextFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = f"{_moment(record)} {record.levelname:<7} {record.name}: {self._message(record)}"
        return "\n    ".join([line, *self._trace(record)])


class _JsonFormatter(_Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        fields = {"time": _moment(record), "level": record.levelname, "logger": record.name, "message": self._message(record)}
        if self._process:
            fields["process"] = self._process
        current = trace.get_current_span().get_span_context()
        if current.is_valid:
            fields["trace_id"] = f"{current.trace_id:032x}"
            fields["span_id"] = f"{current.span_id:016x}"
        if lines := self._trace(record):
            fields["exception"] = "\n".join(lines)
        return json.dumps(fields, ensure_ascii=False)


class _OnceAnOutage(logging.Filter):
    """Drops what each loop says of a part that is away: ``outage`` tells it once for all of them."""

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        return not any(isinstance(argument, _TOLD_BY_OUTAGE) for argument in arguments)


class _NobodyMissesIt(logging.Filter):
    """Drops what asyncio says of a library's own futures that ended in an error: whoever waited for the call was told by another way."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        unclaimed = record.name == "asyncio" and record.getMessage().startswith("Future exception was never retrieved")
        return not (unclaimed and (type(error).__module__.partition(".")[0] in _TOLD_BY_US or str(error) == _GIVEN_UP))
