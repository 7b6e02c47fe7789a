"""Metrics: instruments of the OpenTelemetry API, each defined once with its unit, attributes and meaning.

Without an endpoint (``metrics_endpoint``) nothing is recorded and a measurement costs next to nothing; with one it costs some
microseconds, so hot paths measure a batch, never a document. docs/telemetry.md lists all that is defined.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

log = logging.getLogger(__name__)
SAMPLE_SECONDS = 1.0
SHORT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Buckets of what should take milliseconds."""
LONG_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Buckets of what may take minutes."""

_METER = metrics.get_meter("doctrain")

Reading = tuple[float, tuple[str, ...]]
"""A value, and one of each of the gauge's attributes."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What is measured: ``unit`` is UCUM's, ``attributes`` are names, ``meaning`` is for people."""

    name: str
    kind: str
    unit: str
    attributes: Sequence[str]
    meaning: str


DEFINED: dict[str, Definition] = {}
"""All instruments of the modules that were imported, by name."""
_COUNTERS: list[Counter] = []
_GAUGES: list[Gauge] = []


class _Instrument:
    def __init__(self, kind: str, name: str, unit: str, meaning: str, attributes: Sequence[str]) -> None:
        assert name not in DEFINED, f"{name} is defined twice"
        self.definition = DEFINED[name] = Definition(name, kind, unit, tuple(attributes), meaning)

    def _named(self, values: Sequence[str]) -> Mapping[str, str]:
        """The attributes that have a value; as many values as attributes are given."""
        return {name: value for name, value in zip(self.definition.attributes, values, strict=True) if value}


class Counter(_Instrument):
    """What only grows."""

    def __init__(self, name: str, unit: str, meaning: str, attributes: Sequence[str] = ()) -> None:
        super().__init__("counter", name, unit, meaning, attributes)
        self._counter = _METER.create_counter(name, unit, meaning)
        _COUNTERS.append(self)

    def begin(self) -> None:
        """Tells 0, so that the first count is seen as an increase; one with attributes begins with its first values."""
        if not self.definition.attributes:
            self._counter.add(0)

    def add(self, amount: float, *values: str) -> None:
        """Adds to the sum, with a value for each attribute; an empty one is left out."""
        if amount:
            self._counter.add(amount, self._named(values))


class UpDownCounter(_Instrument):
    """How many there are, told whenever one comes or goes."""

    def __init__(self, name: str, unit: str, meaning: str, attributes: Sequence[str] = ()) -> None:
        super().__init__("up-down counter", name, unit, meaning, attributes)
        self._counter = _METER.create_up_down_counter(name, unit, meaning)

    def add(self, amount: float, *values: str) -> None:
        """Adds to the count, or takes away."""
        self._counter.add(amount, self._named(values))

    @contextmanager
    def one(self, *values: str) -> Iterator[None]:
        """Counts one more while it is open."""
        self.add(1, *values)
        try:
            yield
        finally:
            self.add(-1, *values)


class Histogram(_Instrument):
    """How values are distributed over ``buckets``, each given by its upper bound."""

    def __init__(self, name: str, unit: str, meaning: str, attributes: Sequence[str] = (), *, buckets: Sequence[float]) -> None:
        super().__init__("histogram", name, unit, meaning, attributes)
        self._histogram = _METER.create_histogram(name, unit, meaning, explicit_bucket_boundaries_advisory=buckets)

    def record(self, value: float, *values: str) -> None:
        """Records a value, with a value for each attribute."""
        self._histogram.record(value, self._named(values))


class Gauge(_Instrument):
    """What is read once a second in the event loop's thread; a scrape, which comes in another, gets what was read last."""

    def __init__(self, name: str, unit: str, meaning: str, attributes: Sequence[str] = ()) -> None:
        super().__init__("gauge", name, unit, meaning, attributes)
        self._readers: list[Callable[[], Iterable[Reading]]] = []
        self._last: Sequence[Observation] = ()
        _METER.create_observable_gauge(name, [self._read_last], unit, meaning)
        _GAUGES.append(self)

    @contextmanager
    def reading(self, reader: Callable[[], Iterable[Reading]]) -> Iterator[None]:
        """Reads from there while open; readers of one gauge differ in their attributes."""
        self._readers.append(reader)
        try:
            yield
        finally:
            if reader in self._readers:
                self._readers.remove(reader)

    def sample(self) -> None:
        """Reads now. A reader that fails is told of and not asked again: measuring ends no process."""
        found: list[Observation] = []
        for reader in list(self._readers):
            try:
                found += [Observation(value, self._named(values)) for value, values in reader()]
            except Exception:
                log.exception("%s cannot be read and is no longer measured.", self.definition.name)
                self._readers.remove(reader)
        self._last = tuple(found)

    def _read_last(self, _options: CallbackOptions) -> Iterable[Observation]:
        return self._last


LOOP_LAG = Histogram(
    "doctrain.loop.lag", "s", "How much too late the event loop came to what was due, looked at once a second.", buckets=SHORT_SECONDS
)
DEPENDENCY_AWAY = UpDownCounter("doctrain.dependency.away", "{dependency}", "1 while the process gets no answer of it.", ["doctrain.part"])
POOL_CONNECTIONS = Gauge(
    "doctrain.pool.connections",
    "{connection}",
    "Connections to Postgres that are open, by pool: `used` or `idle`.",
    ["doctrain.pool", "doctrain.state"],
)


async def sampling() -> None:
    """Lets counters begin, then reads all gauges and measures the loop's lag, once a second until cancelled."""
    clock = asyncio.get_running_loop().time
    for counter in _COUNTERS:
        counter.begin()
    while True:
        for gauge in _GAUGES:
            gauge.sample()
        due = clock() + SAMPLE_SECONDS
        await asyncio.sleep(SAMPLE_SECONDS)
        LOOP_LAG.record(max(0.0, clock() - due))
