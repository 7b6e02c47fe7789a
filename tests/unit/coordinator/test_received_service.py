"""What the fleet has worked for whom."""

from __future__ import annotations

from doctrain_coordinator.core.received_service import ReceivedService


def test_slots_count_for_as_long_as_they_are_used_and_by_weight() -> None:
    service = ReceivedService()
    service.observe(10.0, {1: 4, 2: 1})
    service.observe(12.5, {1: 4, 2: 1})
    assert (service.received(1, 1.0), service.received(1, 2.0), service.received(2, 1.0)) == (10.0, 5.0, 2.5)


def test_one_that_comes_anew_starts_where_the_least_served_is() -> None:
    service = ReceivedService()
    service.observe(0.0, {1: 4, 2: 1})
    service.observe(3.0, {1: 4, 2: 1})
    service.attend({3})
    assert service.received(3, 1.0) == service.received(2, 1.0) == 3.0


def test_one_without_work_is_forgotten() -> None:
    service = ReceivedService()
    service.observe(0.0, {1: 4})
    service.observe(1.0, {1: 4})
    service.forget_others({2})
    assert service.received(1, 1.0) == 0.0
