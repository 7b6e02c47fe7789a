"""RabbitMQ's consumer_timeout: the channel of a worker that holds a message for too long is closed, and all that it had comes again."""

from __future__ import annotations

from pathlib import Path

import pytest

from doctrain.v1 import training_pb2 as pb
from doctrain_mesh.broker.rabbitmq import RabbitMQBroker
from testkit.coordinator import coordinators
from testkit.rabbitmq import RabbitMQServer
from testkit.server import own_server
from testkit.waiting import wait_until
from testkit.worker import Documents, settled, worker

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(180)]


def impatient(folder: Path, users_lock: Path) -> RabbitMQServer:
    """A server that waits for an ack for a few seconds, where others wait for half an hour; it looks at its channels each second."""
    server = RabbitMQServer(folder, users_lock)
    server.advanced = "[{rabbit,[{channel_tick_interval,1000},{consumer_timeout,3000}]}]."
    return server


def numbered(count: int) -> pb.NumberedDocuments:
    return pb.NumberedDocuments(uri_template="s3://bucket/{n}", first=0, count=count)


async def test_a_worker_goes_on_with_what_is_taken_from_it_and_gets_more(
    postgres: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    documents = Documents()
    with own_server(impatient, tmp_path) as server:
        mine, its = [RabbitMQBroker(server.url, queue="shards") for _ in range(2)]
        async with coordinators(postgres, tmp_path, broker=mine) as served:
            acme = await served.tenant("acme")
            async with worker(its, documents, served.running[0].address, worker_key=await served.key(2)):
                await acme.start_training(numbered=numbered(5), training_task_id="long")
                await wait_until(lambda: len(documents.running) == 5)
                # Twice: what came again was taken in, and was held for too long as well.
                await wait_until(lambda: caplog.text.count("subscription to RabbitMQ was lost") == 2, 60)
                documents.end_all()
                ended = await acme.wait("long")
                assert (ended.state, ended.completed) == (pb.TRAINING_STATE_COMPLETED, 5)
                assert sorted(documents.started) == list(range(5)), "each ran once"
                await acme.start_training(numbered=numbered(40), training_task_id="next")
                assert (await acme.wait("next")).completed == 40
                assert len(documents.started) == 45
            assert await settled(mine)
        await mine.close()
        await its.close()
