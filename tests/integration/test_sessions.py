"""Sessions on a real Postgres: beats, orders, streams that close, successors (docs/protocol.md, "Heartbeat", "Take-back")."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import pytest

from doctrain_coordinator.core.ledger import Begun
from doctrain_coordinator.core.states import SessionState, ShardState
from doctrain_coordinator.tracking import lost_sessions, sessions
from doctrain_coordinator.tracking.handback import Unless
from doctrain_coordinator.tracking.heartbeats import SessionStanding
from doctrain_mesh import postgres as mesh_postgres
from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.errors import StoreUnavailableError
from testkit.core import Core, core
from testkit.waiting import wait_until


@pytest.fixture
async def one(postgres: str) -> AsyncIterator[Core]:
    async with core(postgres) as made:
        yield made


async def test_a_beat_is_counted_once_committed_and_an_old_streams_counts_for_nothing(one: Core) -> None:
    old = await one.open("w")
    assert (await one.beat(old)).beat == 1
    new = await one.attach("w", old.session)
    assert new is not None
    assert new.attached == old.attached + 1
    assert (await one.beat(old)).beat is None
    assert (await one.beat(new)).beat == 2


@pytest.mark.parametrize("guess", [b"", bytes(16), b"\xff" * 5000], ids=["none", "another", "long"])
async def test_nobody_attaches_to_a_session_or_ends_it_without_its_secret(one: Core, guess: bytes) -> None:
    """Ids are counted and listed, so whoever has the key of a worker knows them."""
    opened = await one.open("w")
    assert len(opened.secret) == 16
    assert await one.attach("w", opened.session, guess) is None
    await one.open("w", predecessor=opened.session, secret=guess)
    assert (await one.beat(opened)).beat == 1, "nothing came of it"
    again = await one.attach("w", opened.session, opened.secret)
    assert again is not None
    assert again.secret == b"", "it is told once"
    kept = await one.pool.fetch("select * from session where position($1 in session::text) > 0", opened.secret.hex())
    assert kept == [], "and not kept"


async def test_nobody_attaches_to_a_lost_session_or_to_another_workers(one: Core) -> None:
    session = (await one.open("w")).session
    assert await one.attach("thief", session) is None
    await one.sessions.leave(session)
    assert await one.attach("w", session) is None


async def test_a_shard_that_its_holder_does_not_name_is_released_uncharged(one: Core) -> None:
    training = await one.training(await one.tenant("a"), "t", 10)
    attachment = await one.open("w")
    shard, number = await one.running_shard(attachment.session, training)
    standing = await one.beat(attachment, (shard, number))
    assert (standing.orders, standing.not_yours) == ([], [])
    await one.beat(attachment, asked=[shard])
    await one.beat(attachment, (shard, number))
    assert (await one.shards(training))[0]["state"] == ShardState.RUNNING, "it was asked for since"
    await one.beat(attachment)
    await wait_until(lambda: _state(one, training, ShardState.PENDING))
    assert (await one.shards(training))[0]["losses"] == 0
    assert (await one.beat(attachment, (shard, number))).not_yours == [(shard, number)]


async def test_what_is_asked_for_while_it_waits_for_its_release_is_kept(one: Core) -> None:
    """The begin comes between the heartbeat's look and the release's lock: exactly one of them wins."""
    training = await one.training(await one.tenant("a"), "t", 10)
    attachment = await one.open("w")
    shard, number = await one.running_shard(attachment.session, training)
    names: set[int] = set()
    async with one.pool.acquire() as c:
        transaction = c.transaction()
        await transaction.start()
        await c.execute("select 1 from shard where id = $1 for key share", shard)
        await c.execute("select 1 from training where id = $1 for update", training)

        release = asyncio.create_task(
            one.handbacks.release_unnamed(attachment.session, [(shard, number)], Unless(attachment.attached, lambda: names))
        )
        await wait_until(one.has_a_wait_for_a_lock)
        names.add(shard)
        await transaction.commit()
    await release
    assert (await one.shards(training))[0]["state"] == ShardState.RUNNING
    await one.attach("w", attachment.session)
    await one.handbacks.release_unnamed(attachment.session, [(shard, number)], Unless(attachment.attached, set))
    assert (await one.shards(training))[0]["state"] == ShardState.RUNNING, "another stream knows better"


async def _state(one: Core, training: int, state: ShardState) -> bool:
    return bool((await one.shards(training))[0]["state"] == state)


async def test_a_closed_stream_is_taken_back_and_charged_a_second_later(one: Core) -> None:
    training = await one.training(await one.tenant("a"), "t", 10)
    attachment = await one.open("w")
    held = await one.running_shard(attachment.session, training)
    await one.beat(attachment, held)
    start = time.monotonic()
    await one.stream_ends(attachment)
    assert 1.0 <= time.monotonic() - start < 3
    assert (await one.row("session", attachment.session))["state"] == SessionState.LOST
    row = (await one.shards(training))[0]
    assert (row["state"], row["losses"]) == (ShardState.PENDING, 1)


async def test_a_worker_that_was_silent_before_its_stream_ended_is_left_to_its_lease(one: Core) -> None:
    """It may be frozen: it does not see the end, and its children run until their guardian's deadline."""
    training = await one.training(await one.tenant("a"), "t", 10)
    attachment = await one.open("w")
    held = await one.running_shard(attachment.session, training)
    await one.beat(attachment, held)
    attachment.heard = time.monotonic() - 0.8
    await one.sessions.closed(attachment)
    assert (await one.row("session", attachment.session))["state"] == SessionState.LIVE
    assert (await one.shards(training))[0]["state"] == ShardState.RUNNING


async def test_a_session_that_found_another_stream_is_not_taken_back(one: Core) -> None:
    attachment = await one.open("w")
    closed = asyncio.create_task(one.stream_ends(attachment))
    assert await one.attach("w", attachment.session) is not None
    await closed
    assert (await one.row("session", attachment.session))["state"] == SessionState.LIVE


async def test_who_was_left_unanswered_had_to_fence_itself_and_is_not_charged(one: Core) -> None:
    training = await one.training(await one.tenant("a"), "t", 10)
    attachment = await one.open("w")
    await one.running_shard(attachment.session, training)
    attachment.answered -= 6
    await one.stream_ends(attachment)
    row = (await one.shards(training))[0]
    assert (row["state"], row["losses"]) == (ShardState.PENDING, 0)


async def test_who_had_to_fence_itself_is_not_charged_when_the_answers_come_before_its_end(one: Core) -> None:
    """As after an absence of Postgres: the heartbeats that waited for it are all answered, then the stream of the fenced worker ends."""
    training = await one.training(await one.tenant("a"), "t", 10)
    attachment = await one.open("w")
    held = await one.running_shard(attachment.session, training)
    attachment.answered -= 6
    for _ in range(2):
        await one.beat(attachment, held)
    await one.stream_ends(attachment)
    row = (await one.shards(training))[0]
    assert (row["state"], row["losses"]) == (ShardState.PENDING, 0)
    attachment = await one.open("w")
    held = await one.running_shard(attachment.session, training)
    attachment.answered -= 6
    await one.beat(attachment, held)
    assert attachment.starved is not None
    attachment.starved -= attachment.lease
    await one.stream_ends(attachment)
    assert (await one.shards(training))[0]["losses"] == 1


async def test_many_workers_lost_at_once_are_not_charged(one: Core) -> None:
    training = await one.training(await one.tenant("a", "paid"), "t", 30)
    attachments = [await one.open(f"w{n}") for n in range(3)]
    for place, attachment in enumerate(attachments):
        await one.running_shard(attachment.session, training, place)
    await asyncio.gather(*(one.stream_ends(attachment) for attachment in attachments))
    rows = await one.shards(training)
    assert [(row["state"], row["losses"]) for row in rows] == [(ShardState.PENDING, 0)] * 3


async def test_a_mass_loss_is_counted_over_all_coordinators(postgres: str) -> None:
    """Nine workers of three coordinators, each of which sees no more than a third go, and not all at one instant."""
    broker = MemoryBroker()
    async with AsyncExitStack() as stack:
        sides = [await stack.enter_async_context(core(postgres, broker=broker)) for _ in range(3)]
        one = sides[0]
        training = await one.training(await one.tenant("a", "paid"), "t", 90)
        attachments = [(sides[n % 3], await sides[n % 3].open(f"w{n}")) for n in range(9)]
        for place, (side, attachment) in enumerate(attachments):
            await side.running_shard(attachment.session, training, place)

        async def close(place: int) -> None:
            side, attachment = attachments[place]
            await asyncio.sleep(0.18 * place)
            await side.stream_ends(attachment)

        await asyncio.gather(*map(close, range(9)))
        rows = await one.shards(training)
        assert {row["state"] for row in rows} == {ShardState.PENDING}
        await wait_until(lambda: _losses(one, training, {0}))


async def test_a_mass_loss_is_forgiven_once_postgres_answers_again(one: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, looks = mesh_postgres.acquired, list[str]()

    def acquired(
        pool: mesh_postgres.Pool, operation: str, *, seconds: float = 10.0
    ) -> AbstractAsyncContextManager[mesh_postgres.Connection]:
        if operation == "looking at a lost session" and away and len(looks) < 4:
            looks.append(operation)
            raise StoreUnavailableError("Postgres is away.")
        return ours(pool, operation, seconds=seconds)

    away = False
    monkeypatch.setattr(mesh_postgres, "acquired", acquired)
    monkeypatch.setattr(sessions, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(lost_sessions, "RETRY_SECONDS", 0.01)
    training = await one.training(await one.tenant("a", "paid"), "t", 30)
    attachments = [await one.open(f"w{n}") for n in range(3)]
    for place, attachment in enumerate(attachments):
        await one.running_shard(attachment.session, training, place)
    for attachment in attachments:
        await one.stream_ends(attachment)
    assert [row["losses"] for row in await one.shards(training)] == [1, 1, 0], "the first did not look like many"
    away = True
    await wait_until(lambda: _losses(one, training, {0}))
    assert len(looks) == 4


async def _losses(one: Core, training: int, expected: set[int]) -> bool:
    return {row["losses"] for row in await one.shards(training)} == expected


async def test_a_loss_that_puts_documents_on_trial_waits_until_it_is_known_to_be_alone(one: Core) -> None:
    training = await one.training(await one.tenant("a", "paid"), "t", 40)
    await one.pool.execute("update shard set losses = 1 where training = $1", training)
    attachments = [await one.open(f"w{n}") for n in range(4)]
    for place, attachment in enumerate(attachments):
        await one.running_shard(attachment.session, training, place)

    async def close(place: int) -> None:
        await asyncio.sleep(0.6 * place)
        await one.stream_ends(attachments[place])

    start = time.monotonic()
    await close(0)
    assert 2.0 <= time.monotonic() - start < 4
    alone = (await one.shards(training))[0]
    assert (alone["losses"], alone["suspects"]) == (2, [0, 1, 2, 3, 4])
    await asyncio.gather(*map(close, (1, 2, 3)))
    rows = (await one.shards(training))[1:]
    assert [(row["state"], row["losses"], row["suspects"]) for row in rows] == [(ShardState.PENDING, 1, [])] * 3


async def test_one_locked_session_delays_no_other_ones_heartbeat(one: Core) -> None:
    stuck, other = await one.open("stuck"), await one.open("other")
    async with one.pool.acquire() as c:
        transaction = c.transaction()
        await transaction.start()
        await c.execute("select 1 from session where id = $1 for share", stuck.session)
        late = asyncio.create_task(one.beat(stuck))
        for count in range(1, 4):
            start = time.monotonic()
            assert (await one.beat(other)).beat == count
            assert time.monotonic() - start < 1
        assert not late.done()
        await transaction.rollback()
    assert (await late).beat == 1


async def test_a_session_that_a_restored_database_does_not_know_is_lost(one: Core) -> None:
    attachment, other = await one.open("w"), await one.open("v")
    await one.pool.execute("delete from session where id = $1", attachment.session)
    assert await one.beat(attachment) == SessionStanding(None)
    assert (await one.beat(other)).beat == 1


@pytest.mark.parametrize("charged", [False, True])
async def test_a_successor_takes_its_predecessor_back_at_once(one: Core, charged: bool) -> None:
    training = await one.training(await one.tenant("a"), "t", 10)
    before = await one.open("w")
    shard, number = await one.running_shard(before.session, training)
    await one.open("thief", predecessor=before.session, charged=True)
    assert (await one.row("session", before.session))["state"] == SessionState.LIVE
    after = await one.open("w", predecessor=before.session, charged=charged)
    assert (await one.row("session", before.session))["state"] == SessionState.LOST
    row = (await one.shards(training))[0]
    assert (row["state"], row["losses"]) == (ShardState.PENDING, int(charged))
    assert await one.begin(before.session, shard, number) is Begun.SESSION_LOST
    assert await one.begin(after.session, shard, number) is Begun.NOT_YOURS
