"""Which shard makes room for another training of the same tenant."""

from __future__ import annotations

from doctrain_coordinator.core.training_turns import KEPT_SECONDS, TurnHolder, choose


def _running(training: int, shard: int, *, tenant: int = 1, width: int = 5, seconds: float = 1.0) -> TurnHolder:
    return TurnHolder(tenant, training, shard, 1, width, seconds)


def test_of_the_training_with_the_most_slots_the_one_that_ran_longest_goes() -> None:
    large = [_running(1, 10, seconds=3), _running(1, 11, seconds=4), _running(1, 12, width=1)]
    assert choose([*large, _running(2, 20, width=9, seconds=99)]) == [(11, 1)]
    assert choose([]) == []


def test_the_only_shard_of_a_training_has_its_time() -> None:
    assert choose([_running(1, 10, seconds=KEPT_SECONDS - 1)]) == []
    assert choose([_running(1, 10, seconds=KEPT_SECONDS)]) == [(10, 1)]
    assert choose([_running(1, 10), _running(2, 20, width=1), _running(2, 21, width=1)]) == [(20, 1)]


def test_each_tenant_gives_one() -> None:
    assert choose([_running(1, 10), _running(1, 11), _running(2, 20, tenant=2), _running(2, 21, tenant=2)]) == [(10, 1), (20, 1)]
