"""A bucket gives what fills it, and at once no more than it holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctrain_coordinator.core.rates import Bucket
from doctrain_coordinator.rpc.policies import Cost
from doctrain_coordinator.rpc.quotas import Quotas
from doctrain_coordinator.tenants.identity import ROLE_TENANT, Identity
from doctrain_mesh.errors import QuotaExceededError


@given(st.lists(st.floats(0, 3), max_size=200), st.floats(0.1, 50))
def test_no_more_is_taken_than_the_bucket_held_and_what_filled_it(pauses: list[float], rate: float) -> None:
    most = max(1.0, 2 * rate)
    bucket, now, taken = Bucket(most, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        wait = bucket.take(now, a_second=rate, most=most)
        taken += not wait
        if wait:
            assert Bucket(bucket.tokens, bucket.filled).take(now + wait * 1.000001, a_second=rate, most=most) == 0
    assert taken <= most + now * rate + 1e-6


def test_a_tenant_that_calls_too_often_is_told_when_to_call_again_and_delays_nobody() -> None:
    now = 100.0
    quotas = Quotas(lambda: now)
    acme = Identity(ROLE_TENANT, 1, "acme", 1, plan="small", requests_per_second=2.0)
    other = Identity(ROLE_TENANT, 2, "other", 2, plan="small", requests_per_second=2.0)

    def calls(caller: Identity) -> None:
        with quotas.call(Cost.QUICK, caller):
            pass

    for _ in range(4):
        calls(acme)
    with pytest.raises(QuotaExceededError, match=r"The plan small allows 2 calls a second; call again in 0\.5 s\.") as caught:
        calls(acme)
    assert caught.value.retry_after_seconds == 0.5
    assert caught.value.metadata == {"subject": "tenant:acme", "quota": "requests_per_second", "limit": "2", "unit": "calls a second"}
    calls(other)
    now += 0.5
    calls(acme)


def test_a_watch_that_ends_makes_room_for_another() -> None:
    quotas = Quotas()
    acme = Identity(ROLE_TENANT, 1, "acme", 1, plan="small", watches=1)
    for _ in range(2):
        with quotas.call(Cost.WATCH, acme):
            with pytest.raises(QuotaExceededError, match="1 watches at once"), quotas.call(Cost.WATCH, acme):
                pass
            with quotas.call(Cost.QUICK, acme):
                pass
