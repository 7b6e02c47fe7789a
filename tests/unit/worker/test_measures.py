"""What the metrics say of the documents of a report."""

from __future__ import annotations

import pytest

from doctrain_mesh.stages import STAGES, WAIT
from doctrain_worker import metrics
from doctrain_worker.core.results import Columns, Stage
from doctrain_worker.shards import measures


def test_known_stages_and_time_in_line_are_told_by_name_and_those_of_a_processor_of_ones_own_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(metrics.STAGE_DURATION, "record", lambda _seconds, name: told.append(name))
    passed = [Stage(name, 0, 5, {}) for name in (*STAGES, WAIT, "translate")]
    measures.reported(1, Columns(1, [0], [5], [], [], passed=[(1, passed)]))
    assert told == [*STAGES, WAIT, "other"]
