"""What a gauge of this process tells, without an endpoint."""

from __future__ import annotations

from doctrain_mesh.observability.metrics import Gauge


def told(gauge: Gauge) -> dict[tuple[str, ...], float]:
    """Its values, by those of its attributes in their order."""
    gauge.sample()
    return {tuple(str(value) for value in (observed.attributes or {}).values()): observed.value for observed in gauge._last}
