"""Instruments: attributes are those that were defined, and gauges are read one reader after the other."""

from __future__ import annotations

import pytest

from doctrain_mesh.observability.metrics import DEFINED, Counter, Gauge, Reading


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doctrain_mesh.observability.metrics.DEFINED", dict(DEFINED))


def told(gauge: Gauge) -> list[tuple[float, dict[str, str]]]:
    gauge.sample()
    return [(observed.value, {name: str(value) for name, value in (observed.attributes or {}).items()}) for observed in gauge._last]


def test_a_value_for_each_attribute_and_none_else() -> None:
    counter = Counter("doctrain.test.counter", "{thing}", "Things.", ["doctrain.kind"])
    counter.add(1, "odd")
    with pytest.raises(ValueError, match="argument"):
        counter.add(1)


def test_a_gauge_tells_what_its_readers_said_last_as_long_as_they_are_there(caplog: pytest.LogCaptureFixture) -> None:
    gauge = Gauge("doctrain.test.gauge", "{thing}", "Things.", ["doctrain.worker"])

    def broken() -> list[Reading]:
        raise RuntimeError("broken")

    with gauge.reading(lambda: [(1, ("one",))]), gauge.reading(broken):
        with gauge.reading(lambda: [(2, ("two",)), (3, ("",))]):
            assert told(gauge) == [(1, {"doctrain.worker": "one"}), (2, {"doctrain.worker": "two"}), (3, {})]
        assert "doctrain.test.gauge cannot be read" in caplog.text
        assert told(gauge) == [(1, {"doctrain.worker": "one"})]
    assert told(gauge) == []


def test_a_name_is_defined_once() -> None:
    Counter("doctrain.test.twice", "{thing}", "Things.")
    with pytest.raises(AssertionError, match="defined twice"):
        Counter("doctrain.test.twice", "{thing}", "Things.")
