"""A tracker whose answers a test decides, behind real gRPC servers on free ports: what coordinators look like to a worker.

Several servers may share one ``Script``, as coordinators share their Postgres: only the session's last stream beats for it. Unless
told otherwise it welcomes every stream, answers every heartbeat, gives the shards of ``shards`` out and records what is reported.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from doctrain_mesh.ports import Message
from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_mesh.v1 import tracker_pb2_grpc
from doctrain_mesh.v1.shard_message_pb2 import ShardMessage

Key = tuple[int, int]
BEAT_MS = 50
LEASE_MS = 2500


def begun(shard: int, number: int, count: int, *, width: int = 2, suspects: tuple[int, ...] = (), cool_downs: int = 0) -> pb.BeginAnswer:
    """The answer that gives a shard of numbered documents from ordinal 0 out."""
    return pb.BeginAnswer(
        shard=pb.ShardRef(shard=shard, number=number),
        outcome=pb.BEGIN_OUTCOME_BEGUN,
        tenant=1,
        tenant_id="acme",
        training=7,
        training_task_id="training",
        index_order=7,
        width=width,
        documents=pb.OpenDocuments(run_first=[0], run_count=[count], uri_template="s3://test/{n}"),
        suspects=suspects,
        cool_downs=cool_downs,
    )


def message(shard: int, number: int) -> Message:
    """What the broker carries of a grant."""
    return Message(ShardMessage(shard=shard, number=number).SerializeToString())


@dataclass
class Script:
    """What the tracker answers, and everything that it was told, in order."""

    shards: dict[Key, pb.BeginAnswer] = field(default_factory=dict)
    orders: list[pb.Order] = field(default_factory=list)
    resizes: list[pb.Resize] = field(default_factory=list)
    not_yours: list[Key] = field(default_factory=list)
    stale: set[Key] = field(default_factory=set)
    refused_trials: set[Key] = field(default_factory=set)
    invalid: set[Key] = field(default_factory=set)
    lost_sessions: set[int] = field(default_factory=set)
    attached: Counter[int] = field(default_factory=Counter)
    lease_ms: int = LEASE_MS
    answer_begins: bool = True
    answer_blocks: bool = True
    answer_beats: bool = True
    refuses_key: bool = False
    cordoned: bool = False
    on_event: Callable[[str, Any], None] = lambda _event, _detail: None
    events: list[tuple[str, Any]] = field(default_factory=list)
    results: dict[Key, dict[int, str]] = field(default_factory=dict)
    sessions: int = 0

    def note(self, event: str, detail: Any) -> None:
        """The worker said something."""
        self.events.append((event, detail))
        self.on_event(event, detail)

    def told(self, event: str) -> list[Any]:
        """All that the worker said of one kind."""
        return [detail for name, detail in self.events if name == event]

    def record(self, block: pb.Block) -> None:
        """Takes a block's results in; each document is recorded once."""
        recorded = self.results.setdefault((block.shard.shard, block.shard.number), {})
        failed = {f.ordinal: f.code for f in block.failed}
        for place, started in enumerate(block.started):
            if started >= 0:
                recorded.setdefault(block.first + place, failed.get(block.first + place, "done"))

    def is_done(self, key: Key) -> bool:
        """Whether every document of the shard is recorded."""
        answer = self.shards.get(key)
        return answer is not None and len(self.results.get(key, {})) == sum(answer.documents.run_count)


class TrackerServer(tracker_pb2_grpc.TrackerServiceServicer):
    """One coordinator; ``name`` stands in the events ``open`` and ``end``. Unless it ``welcomes``, it attaches streams in silence."""

    def __init__(self, script: Script, name: str) -> None:
        self._script, self.name = script, name
        self.welcomes = True
        self._server = grpc.aio.server()
        tracker_pb2_grpc.add_TrackerServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._outboxes: dict[asyncio.Queue[pb.TrackResponse | None], None] = {}

    @property
    def address(self) -> str:
        """Where it serves."""
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Serves."""
        await self._server.start()

    async def stop(self) -> None:
        """Ends every stream at once and serves no more."""
        await self._server.stop(None)

    def send(self, response: pb.TrackResponse) -> None:
        """Sends a response of the test's own on every stream."""
        for outbox in self._outboxes:
            outbox.put_nowait(response)

    def end_streams(self) -> None:
        """Ends every stream, as a coordinator that fails does; it takes new ones."""
        for outbox in self._outboxes:
            outbox.put_nowait(None)

    async def Track(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        """See the proto."""
        if self._script.refuses_key:
            self._script.note("refused", self.name)
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "The API key is unknown.")
        first = await context.read()
        session = first.hello.session
        self._script.note("open", (self.name, first.hello))
        named = session or first.hello.predecessor
        if named and first.hello.secret != _secret(named):
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "That is not the secret of the session.")
        if session in self._script.lost_sessions:
            await context.write(pb.TrackResponse(welcome=pb.Welcome()))
            return
        if not session:
            self._script.sessions += 1
            session = self._script.sessions
        self._script.attached[session] += 1
        stream = session, self._script.attached[session]
        outbox: asyncio.Queue[pb.TrackResponse | None] = asyncio.Queue()
        self._outboxes[outbox] = None
        if self.welcomes:
            secret = b"" if first.hello.session else _secret(session)
            welcome = pb.Welcome(session=session, attached=stream[1], beat_ms=BEAT_MS, lease_ms=self._script.lease_ms, secret=secret)
            welcome.cordoned = self._script.cordoned
            await context.write(pb.TrackResponse(welcome=welcome))
        reader = asyncio.create_task(self._read(context, stream, outbox))
        try:
            while (response := await outbox.get()) is not None:
                await context.write(response)
        finally:
            del self._outboxes[outbox]
            self._script.note("end", self.name)
            reader.cancel()
            await asyncio.wait({reader})

    async def _read(self, context: Any, stream: tuple[int, int], outbox: asyncio.Queue[pb.TrackResponse | None]) -> None:
        while (request := await context.read()) is not grpc.aio.EOF:
            response = self._answer(request, *stream)
            if response.ByteSize():
                outbox.put_nowait(response)
            if request.HasField("goodbye"):
                self._script.note("goodbye", request.goodbye.reason)
                outbox.put_nowait(None)
        outbox.put_nowait(None)

    def _answer(self, request: pb.TrackRequest, session: int, attached: int) -> pb.TrackResponse:
        script, response = self._script, pb.TrackResponse()
        lost = session in script.lost_sessions
        if request.HasField("heartbeat"):
            script.note("beat", request.heartbeat)
            if script.answer_beats:
                response.heartbeat.CopyFrom(
                    pb.HeartbeatAnswer(
                        sequence=request.heartbeat.sequence,
                        session_lost=lost or attached != script.attached[session],
                        orders=script.orders,
                        not_yours=[pb.ShardRef(shard=s, number=n) for s, n in script.not_yours],
                        cordoned=script.cordoned,
                        resizes=script.resizes,
                    )
                )
        for begin in request.begins:
            key = begin.shard.shard, begin.shard.number
            script.note("begin", key)
            if script.answer_begins:
                outcome = pb.BEGIN_OUTCOME_SESSION_LOST if lost else pb.BEGIN_OUTCOME_NOT_YOURS
                known = None if lost else script.shards.get(key)
                response.begins.append(known or pb.BeginAnswer(shard=begin.shard, outcome=outcome))
        for block in request.blocks:
            self._take_block(block, response)
        for trial in request.trials:
            script.note("trial", trial)
            refused = (trial.shard.shard, trial.shard.number) in script.refused_trials
            response.trial_answers.add(
                shard=trial.shard, ordinal=trial.ordinal, outcome=pb.TRIAL_OUTCOME_REFUSED if refused else pb.TRIAL_OUTCOME_STARTED
            )
        for name, asked, answers in (
            ("yield", request.yields, response.yields),
            ("stopped", request.stopped, response.stopped),
        ):
            for item in asked:
                script.note(name, item)
                answers.append(item.shard)
        return response

    def _take_block(self, block: pb.Block, response: pb.TrackResponse) -> None:
        script, key = self._script, (block.shard.shard, block.shard.number)
        script.note("block", block)
        if not script.answer_blocks:
            return
        if key in script.stale:
            response.blocks.add(sequence=block.sequence, shard=block.shard, outcome=pb.BLOCK_OUTCOME_STALE)
            return
        if key in script.invalid:
            response.blocks.add(sequence=block.sequence, shard=block.shard, outcome=pb.BLOCK_OUTCOME_INVALID)
            return
        script.record(block)
        response.blocks.add(sequence=block.sequence, shard=block.shard, outcome=pb.BLOCK_OUTCOME_RECORDED, shard_done=script.is_done(key))


def _secret(session: int) -> bytes:
    return f"secret of {session}".encode()


@asynccontextmanager
async def tracker_server(script: Script, name: str = "first") -> AsyncIterator[TrackerServer]:
    """A coordinator that serves while open."""
    server = TrackerServer(script, name)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
