"""The processor of real documents: fetch, read and chunk in a sandboxed child, embed in another, index.

Everything here runs in the worker's event loop and only waits; what computes is in children.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from doctrain_mesh.blobs import MakeRoom
from doctrain_mesh.errors import DoctrainError
from doctrain_mesh.postgres import DataError, Pool
from doctrain_mesh.sources import Sources
from doctrain_worker.core.chunking import embedded_text
from doctrain_worker.pipeline import failures, plugins
from doctrain_worker.pipeline.child_stages import CHUNK_VARIABLE, EMBED_VARIABLE, READ_VARIABLE
from doctrain_worker.pipeline.index import IndexedDocument
from doctrain_worker.pipeline.plugins import Stages
from doctrain_worker.pipeline.processor import DocumentTask, Done, ErrorClass, Failure, Outcome, ShardContext, StageTiming
from doctrain_worker.pipeline.readable import Parsed
from doctrain_worker.pipeline.room import Room, Share
from doctrain_worker.sandbox import results
from doctrain_worker.sandbox.isolation import Isolation
from doctrain_worker.sandbox.link import Guardian
from doctrain_worker.sandbox.pool import ChildPool, ChildSpec, ChildStartError

Fetch = Callable[[str, str, int, MakeRoom], Awaitable[bytes]]
Index = Callable[[Pool, ShardContext, DocumentTask, IndexedDocument], Awaitable[bool]]

log = logging.getLogger(__name__)

_TEXTS_A_CALL = 32
_WAITING_DOCUMENTS = 4
_MIB = 1 << 20
_ROOM_BYTES = 32 * _MIB
_EMBEDDER_BYTES = 2048 * _MIB


class _Failed(Exception):
    """Ends a document within ``process``."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.sentence)
        self.failure = failure


class Pipeline:
    """A ``Processor``. Made by ``open_pipeline``.

    Args:
        fetch: the stage ``fetch``.
        parsers: children that read and chunk.
        embedders: children that embed.
        index: the stage ``index``.
        database: where index rows go.
        room_bytes: how many bytes of documents may be in memory at once, beside one document.
        fetch_seconds: longest time until all of a document's bytes have come.
        document_seconds: longest time in children, for each of the two kinds.
        max_document_bytes: largest document.
    """

    def __init__(
        self,
        *,
        fetch: Fetch,
        parsers: ChildPool,
        embedders: ChildPool,
        index: Index,
        database: Pool,
        room_bytes: int,
        fetch_seconds: float,
        document_seconds: float,
        max_document_bytes: int,
    ) -> None:
        self._fetch = fetch
        self._parsers = parsers
        self._embedders = embedders
        self._index = index
        self._database = database
        self._room = Room(room_bytes)
        self._fetch_seconds = fetch_seconds
        self._document_seconds = document_seconds
        self._max_document_bytes = max_document_bytes

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        """See ``Processor``."""
        stages: list[StageTiming] = []
        try:
            parsed = await self._read(document, shard, stages)
            model, vectors = await self._embedded(parsed, shard, stages)
            indexed = IndexedDocument(parsed.sha256, parsed.media_type, model, parsed.chunks, vectors)
            with _timed(stages, "index", {"chunks": len(parsed.chunks)}):
                written = await self._index(self._database, shard, document, indexed)
        except _Failed as failed:
            return failures.with_stages(failed.failure, stages)
        except DoctrainError as error:
            return failures.with_stages(failures.of_error(error), stages)
        except DataError as error:
            return Failure(ErrorClass.PERMANENT, "UNSTORABLE", f"The index refused the document: {error}.", stages=tuple(stages))
        except ChildStartError as error:
            return failures.with_stages(
                failures.transient("NO_CHILD", f"No process to read the document could be started. {error}"), stages
            )
        return Done(chunks=len(parsed.chunks), superseded=not written, stages=tuple(stages))

    async def _read(self, document: DocumentTask, shard: ShardContext, stages: list[StageTiming]) -> Parsed:
        with self._room.share(shard.tenant) as share:
            return await self._parsed(await self._fetched(document, shard, stages, share), document, shard, stages)

    async def _fetched(self, document: DocumentTask, shard: ShardContext, stages: list[StageTiming], share: Share) -> bytes:
        """The bytes; the time limit is for their source, so it stands still while they wait for room."""
        loop = asyncio.get_running_loop()
        facts: dict[str, str | int | float] = {"scheme": document.uri.partition("://")[0]}

        async def make_room(count: int) -> None:
            if not share.take(count):
                left = (limit.when() or 0.0) - loop.time()
                limit.reschedule(None)
                await share.wait(count)
                limit.reschedule(loop.time() + left)

        with _timed(stages, "fetch", facts):
            try:
                async with asyncio.timeout(self._fetch_seconds) as limit:
                    content = await self._fetch(shard.tenant_id, document.uri, self._max_document_bytes, make_room)
            except TimeoutError as error:
                if limit.expired():
                    raise _Failed(failures.fetch_overdue(self._fetch_seconds)) from error
                raise
            facts["bytes"] = len(content)
        return content

    async def _parsed(self, content: bytes, document: DocumentTask, shard: ShardContext, stages: list[StageTiming]) -> Parsed:
        name = document.uri.rpartition("/")[2]
        task = {"content": content, "media_type": document.media_type, "name": document.document_id if "." not in name else name}
        result = await self._parsers.run(task, self._document_seconds, shard.traceparent)
        if not isinstance(result, results.Result):
            raise _Failed(failures.of_call(result, "reading"))
        try:
            parsed = msgspec.convert(result.value, Parsed)
        except msgspec.ValidationError as error:
            raise _Failed(Failure(ErrorClass.CRASH, "CRASHED", "The process that read the document answered nonsense.")) from error
        stages += [StageTiming(span.name, span.start, span.seconds, span.attributes) for span in parsed.stages]
        return parsed

    async def _embedded(self, parsed: Parsed, shard: ShardContext, stages: list[StageTiming]) -> tuple[str, bytes]:
        """The vectors, some texts a call, so that long documents let others in between; the time limit is for all together."""
        texts = [embedded_text(chunk.heading, chunk.text) for chunk in parsed.chunks]
        model = ""
        vectors = []
        left = self._document_seconds
        with _timed(stages, "embed", {"chunks": len(texts)}):
            for start in range(0, len(texts), _TEXTS_A_CALL):
                result = await self._embedders.run(texts[start : start + _TEXTS_A_CALL], max(left, 0.001), shard.traceparent)
                if isinstance(result, results.TimedOut):
                    result = results.TimedOut(self._document_seconds)
                if not isinstance(result, results.Result):
                    raise _Failed(_embedding_failure(result))
                left -= result.seconds
                model, part = result.value
                vectors.append(part)
        return model, b"".join(vectors)


@asynccontextmanager
async def open_pipeline(
    guardian: Guardian,
    *,
    sources: Sources,
    database: Pool,
    isolation: Isolation,
    children: int,
    fetch_seconds: float,
    document_seconds: float,
    document_memory_bytes: int,
    max_document_bytes: int,
    stages: Stages | None = None,
) -> AsyncIterator[Pipeline]:
    """A pipeline with up to ``children`` children of each kind; they are ended at its exit.

    Raises ChildStartError when not even the first of each kind starts, ConfigurationError when a stage cannot be loaded.
    """
    chosen = stages or Stages()
    fetch: Fetch = plugins.load("DOCTRAIN_STAGE_FETCH", chosen.fetch) if chosen.fetch else sources.get
    index: Index = plugins.load("DOCTRAIN_STAGE_INDEX", chosen.index)
    parse = ChildSpec(
        "doctrain_worker.pipeline.parse:parse",
        prepare="doctrain_worker.pipeline.parse:prepare",
        memory_bytes=document_memory_bytes,
        environment=((READ_VARIABLE, chosen.read), (CHUNK_VARIABLE, chosen.chunk)),
    )
    embed = ChildSpec(
        "doctrain_worker.pipeline.embed:embed",
        prepare="doctrain_worker.pipeline.embed:prepare",
        memory_bytes=_EMBEDDER_BYTES,
        recycle_calls=10_000,
        environment=((EMBED_VARIABLE, chosen.embed),),
    )
    log.log(logging.INFO if isolation.way == "bwrap" else logging.WARNING, "%s", isolation.describe())
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.TaskGroup() as group:  # both start at once: each takes half a second
                parsers = group.create_task(stack.enter_async_context(ChildPool.open(guardian, parse, children, isolation)))
                embedders = group.create_task(stack.enter_async_context(ChildPool.open(guardian, embed, children, isolation)))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        yield Pipeline(
            fetch=fetch,
            parsers=parsers.result(),
            embedders=embedders.result(),
            index=index,
            database=database,
            room_bytes=(2 * children + _WAITING_DOCUMENTS) * _ROOM_BYTES,
            fetch_seconds=fetch_seconds,
            document_seconds=document_seconds,
            max_document_bytes=max_document_bytes,
        )


def _embedding_failure(result: results.CallResult) -> Failure:
    """The text is harmless, so what goes wrong with it is ours, but for a document that takes too long."""
    if isinstance(result, results.TimedOut):
        return failures.of_call(result, "embedding")
    return failures.transient("EMBEDDING", f"The embedding model failed ({type(result).__name__}).")


@contextlib.contextmanager
def _timed(stages: list[StageTiming], name: str, facts: dict[str, str | int | float]) -> Iterator[None]:
    """Adds the stage, also when it fails."""
    started, clock = time.time(), time.perf_counter()
    try:
        yield
    finally:
        stages.append(StageTiming(name, started, time.perf_counter() - clock, facts))
