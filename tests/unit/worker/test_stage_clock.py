"""What of a stage was only waited for."""

from __future__ import annotations

from doctrain_worker.pipeline.stage_clock import StageClock


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_stage_waits_while_all_of_its_parts_wait() -> None:
    clock = Clock()
    stage = StageClock(clock)
    clock.now = 1.0
    with stage.waiting():
        clock.now = 3.0
        assert stage.only_waits
    assert stage.read() == (2.0, 1.0)
    with stage.part(), stage.waiting():
        clock.now = 4.0
        with stage.part():
            clock.now = 7.0
            with stage.waiting():
                clock.now = 7.5
    clock.now = 10.0
    assert stage.read() == (3.5, 6.5)
