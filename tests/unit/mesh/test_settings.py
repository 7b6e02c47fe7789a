"""Settings that would be unsafe together are refused."""

from __future__ import annotations

import pytest

from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.settings import load


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"DOCTRAIN_LEASE_SECONDS": "3"}, "must be larger than DOCTRAIN_FENCE_MARGIN_SECONDS"),
        ({"DOCTRAIN_HOLD_SECONDS": "1800"}, "RabbitMQ closes the channel after 1800 s"),
        ({"DOCTRAIN_FETCH_SECONDS": "600"}, "RabbitMQ closes the channel after 1800 s"),
        ({"DOCTRAIN_BROKER_CONSUMER_TIMEOUT_SECONDS": "900"}, "RabbitMQ closes the channel after 900 s"),
        ({"DOCTRAIN_LANE": "3"}, "Did you mean DOCTRAIN_LANES?"),
        ({"DOCTRAIN_DATABASE": "x"}, r"Did you mean DOCTRAIN_DATABASE_URL\?"),
        ({"DOCTRAIN_FOO": "1"}, r"DOCTRAIN_FOO is unknown\. See docs"),
        ({"DOCTRAIN_LANES": "many"}, "is not a whole number"),
        ({"DOCTRAIN_LANES": "0"}, "at least 1"),
        ({"DOCTRAIN_LEASE_SECONDS": "nan"}, "DOCTRAIN_LEASE_SECONDS is nan; it must be a finite number"),
        ({"DOCTRAIN_BROKER_CONSUMER_TIMEOUT_SECONDS": "inf"}, "must be a finite number"),
        ({"DOCTRAIN_LOG_LEVEL": "loud"}, "DOCTRAIN_LOG_LEVEL is loud; it must be DEBUG, INFO, WARNING or ERROR"),
        ({"DOCTRAIN_LOG_FORMAT": "xml"}, "must be text or json"),
        ({"DOCTRAIN_BLOB_URL": "s3a://bucket"}, "DOCTRAIN_BLOB_URL is 's3a://bucket'. It is written as"),
        ({"DOCTRAIN_ADVERTISE": "http://host-a:7700"}, "DOCTRAIN_ADVERTISE is 'http://host-a:7700'; it must be HOST:PORT"),
        ({"DOCTRAIN_DASHBOARD_LISTEN": "7780"}, "DOCTRAIN_DASHBOARD_LISTEN .* is '7780'; it must be HOST:PORT, such as 127.0.0.1:7780"),
        ({"DOCTRAIN_METRICS_LISTEN": "9464"}, "DOCTRAIN_METRICS_LISTEN is '9464'; it must be HOST:PORT, such as 127.0.0.1:9464"),
        ({"DOCTRAIN_SANDBOX": "none"}, "must be auto, bwrap, unshare or rlimit"),
        ({"DOCTRAIN_STAGE_REED": "a:b"}, "Did you mean DOCTRAIN_STAGE_READ"),
    ],
)
def test_a_wrong_setting_is_told_in_a_sentence(environment: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load(environment)


def test_the_defaults_are_safe_together() -> None:
    load({})


def test_a_document_has_the_time_that_the_broker_leaves_beside_the_hold() -> None:
    settings = load({"DOCTRAIN_BROKER_URL": "amqp://x", "DOCTRAIN_HOLD_SECONDS": "100", "DOCTRAIN_BROKER_CONSUMER_TIMEOUT_SECONDS": "2000"})
    assert settings.document_total_seconds == 2000 - 100 - 60
    assert load({}).document_total_seconds == 7200


def test_a_longer_hold_is_fine_where_the_broker_waits_longer() -> None:
    load({"DOCTRAIN_HOLD_SECONDS": "3600", "DOCTRAIN_BROKER_CONSUMER_TIMEOUT_SECONDS": "7200"})
