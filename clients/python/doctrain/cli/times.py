"""Times and spans for people, and how fast a training goes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

    from doctrain.v1.training_pb2 import Training


def moment(timestamp: Timestamp) -> str:
    """A time in this machine's zone, with the zone; empty when it is not set."""
    if not timestamp.seconds:
        return ""
    told = timestamp.ToDatetime(tzinfo=UTC)
    with contextlib.suppress(OverflowError):  # where the zone's year would be the ten thousandth
        told = told.astimezone()
    return told.isoformat(sep=" ", timespec="seconds")


def seconds(duration: Duration) -> float:
    """A duration in seconds."""
    return duration.seconds + duration.nanos / 1e9


def span(duration_seconds: float) -> str:
    """Such as ``0.4 s``, ``35 s``, ``2 min 5 s`` or ``3 h 20 min``."""
    if duration_seconds < 10:
        return f"{duration_seconds:.1f} s"
    whole = round(duration_seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def elapsed_seconds(training: Training, now: datetime) -> float:
    """How long the training has run since it started or, before that, waited; of an ended one how long it took."""
    began = training.start_time if training.HasField("start_time") else training.create_time
    if not began.seconds:
        return 0.0
    until = training.end_time.ToDatetime(tzinfo=UTC) if training.HasField("end_time") else now
    return max(0.0, (until - began.ToDatetime(tzinfo=UTC)).total_seconds())


def course(training: Training, now: datetime) -> Iterator[str]:
    """When a training was accepted, started and ended, how fast it goes, and how long the rest may take."""
    if not training.create_time.seconds:
        return
    started, ended = training.HasField("start_time"), training.HasField("end_time")
    elapsed = elapsed_seconds(training, now)
    told = [f"accepted {moment(training.create_time)}"]
    told += [f"started {moment(training.start_time)}"] if started else []
    told += [f"ended {moment(training.end_time)}"] if ended else []
    if started:
        told.append(f"took {span(elapsed)}" if ended else f"running for {span(elapsed)}")
    elif not ended:
        told.append(f"waiting for {span(elapsed)}")
    yield ", ".join(told)
    done = training.completed + training.failed
    worked = done - training.unchanged
    if ended and started:
        if worked and elapsed > 0:
            yield f"{worked / elapsed:,.1f} documents/s"
    elif fast := pace(training):
        yield fast


def pace(training: Training) -> str:
    """How fast a training that has not ended goes, and how long the rest may take; empty while nothing is known of it."""
    if training.documents_per_second <= 0 or training.paused:
        return ""
    seconds = (training.total - training.completed - training.failed) / training.documents_per_second
    left = f", about {span(seconds)} left" if training.sealed else ""
    return f"{training.documents_per_second:,.1f} documents/s{left}"
