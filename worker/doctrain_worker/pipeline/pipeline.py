"""The processor of real documents: fetch, read and chunk in a sandboxed child, embed in others, index.

Everything here runs in the worker's event loop and only waits; what computes is in children. A document takes as many
calls as its size asks for, each with a limit of its own, and has one limit on its time as a whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from doctrain_mesh.documents.artifacts import Artifacts
from doctrain_mesh.documents.blobs import MakeRoom
from doctrain_mesh.documents.sources import Sources
from doctrain_mesh.embedding import Embedder
from doctrain_mesh.embedding.choice import MINILM, Choice
from doctrain_mesh.errors import DoctrainError, StoreUnavailableError
from doctrain_mesh.postgres import DataError, Pool
from doctrain_mesh.supervise import unwrapped_group
from doctrain_worker.pipeline import failures, plugins
from doctrain_worker.pipeline.chunk_store import ChunkStore
from doctrain_worker.pipeline.embedding import Embedding
from doctrain_worker.pipeline.index import Claimed, IndexedDocument, claim, is_deleted
from doctrain_worker.pipeline.kept.slices import DocumentSlices, KeptSlices
from doctrain_worker.pipeline.limits import Limits
from doctrain_worker.pipeline.methods import CHUNK_VARIABLE, EMBED, MODEL_VARIABLE, PARSE, READ_VARIABLE
from doctrain_worker.pipeline.parsing import Parsing
from doctrain_worker.pipeline.passage import DocumentFailedError, Facts, Passage
from doctrain_worker.pipeline.plugins import Stages
from doctrain_worker.pipeline.processor import DocumentTask, Done, ErrorClass, Failure, Outcome, ShardContext
from doctrain_worker.pipeline.recipe import Recipes
from doctrain_worker.pipeline.room import Room, Share
from doctrain_worker.pipeline.vectors import ChildVectors, EndpointVectors
from doctrain_worker.pipeline.wire import Parsed
from doctrain_worker.sandbox.main.isolation import Isolation
from doctrain_worker.sandbox.main.link import Guardian
from doctrain_worker.sandbox.main.pool import ChildPool, ChildSpec, ChildStartError

Fetch = Callable[[str, str, int, MakeRoom], Awaitable[bytes]]
Index = Callable[[Pool, ShardContext, DocumentTask, IndexedDocument], Awaitable[bool]]
Stored = TypeVar("Stored")

log = logging.getLogger(__name__)

_WAITING_DOCUMENTS = 4
# Seconds between tries to write; the document's whole time, or its fence, ends them.
_STORE_PAUSE, _LONGEST_STORE_PAUSE = 0.25, 5.0
_MIB = 1 << 20
_ROOM_BYTES = 32 * _MIB
_EMBEDDER_BYTES = 2048 * _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A ``Processor``. Made by ``open_pipeline``.

    Args:
        fetch: the stage ``fetch``.
        parsing: the stages ``read`` and ``chunk``.
        embedding: the stage ``embed``.
        index: the stage ``index``.
        database: where index rows go.
        room: memory for what documents have fetched.
        limits: what they may take.
        recipes: what an unchanged document is known by; none where the index is another's, of which nothing is known.
        kept: slices of earlier readings.
    """

    fetch: Fetch
    parsing: Parsing
    embedding: Embedding
    index: Index
    database: Pool
    room: Room
    limits: Limits
    recipes: Recipes | None
    kept: KeptSlices

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        """See ``Processor``."""
        passage = Passage(document, shard)
        outcome = await self._outcome(passage)
        return outcome if isinstance(outcome, Done) else failures.with_stages(outcome, passage.stages)

    async def _outcome(self, passage: Passage) -> Outcome:
        try:
            async with asyncio.timeout(self.limits.total_seconds) as limit:
                return await self._done(passage)
        except TimeoutError:
            if not limit.expired():
                raise
            return failures.overdue(self.limits.total_seconds, passage.worked_seconds)
        except DocumentFailedError as failed:
            return failed.failure
        except DoctrainError as error:
            return failures.of_error(error)
        except DataError as error:
            return Failure(ErrorClass.PERMANENT, "UNSTORABLE", f"The index could not store the document ({error}); please report it.")
        except ChildStartError as error:
            return failures.transient("NO_CHILD", f"No process to read the document could be started. {error}")

    async def _done(self, passage: Passage) -> Done:
        async with AsyncExitStack() as stack:
            store = stack.enter_context(ChunkStore())
            slices = await stack.enter_async_context(self.kept.of(passage))
            parsed = await self._parsed(passage, store, slices)
            if isinstance(parsed, Done):
                return parsed
            model = await self.embedding.embed(store, passage)
            indexed = IndexedDocument(passage.content_hash, parsed.media_type, model, store, self._recipe(passage))
            with passage.timed("index", {"chunks": len(store)}):
                written = await self._stored(passage, lambda: self.index(self.database, passage.shard, passage.document, indexed))
            return Done(chunks=len(store), superseded=not written, stages=tuple(passage.stages))

    async def _stored(self, passage: Passage, store: Callable[[], Awaitable[Stored]]) -> Stored:
        """Stores in the index, once Postgres is there: while it is away nobody is charged, and nothing that was done is done again."""
        pause = _STORE_PAUSE
        while True:
            try:
                return await store()
            except StoreUnavailableError as error:
                log.warning("Document %d of training %s waits for Postgres: %s", *passage.named, error)
            await asyncio.sleep(random.uniform(0.5, 1.0) * pause)  # noqa: S311 - no secret
            pause = min(_LONGEST_STORE_PAUSE, 2 * pause)

    async def _parsed(self, passage: Passage, store: ChunkStore, slices: DocumentSlices) -> Parsed | Done:
        with self.room.share(passage.shard.tenant) as share:
            content = await self._fetched(passage, share)
            # In a thread: of 100 MB it takes longer than the event loop may stand still.
            passage.content_hash = (await asyncio.to_thread(hashlib.sha256, content)).digest()
            claimed = await self._claimed(passage)
            if claimed is not None:
                return Done(chunks=claimed.chunks, stages=tuple(passage.stages), unchanged=claimed.unchanged)
            kept = await slices.found(len(content), share)
            return await self.parsing.parse(content, passage, store, kept=kept, keep=slices.keep)

    def _recipe(self, passage: Passage) -> bytes:
        return self.recipes.of(passage.document) if self.recipes is not None else b""

    async def _claimed(self, passage: Passage) -> Claimed | None:
        """What the index holds of the document as it is now, which is this training's from now on; None: it must be read."""
        if self.recipes is None or passage.shard.retrain:
            return None
        digest, recipe, model = passage.content_hash, self._recipe(passage), await self.embedding.model(passage)
        return await self._stored(
            passage,
            lambda: claim(self.database, passage.shard, passage.document, content_hash=digest, recipe=recipe, model=model),
        )

    async def _fetched(self, passage: Passage, share: Share) -> bytes:
        """The bytes; the time limit is for their source, so it stands still while they wait for room."""
        loop = asyncio.get_running_loop()
        uri = passage.document.uri
        facts: Facts = {"scheme": uri.partition("://")[0]}

        async def make_room(count: int) -> None:
            if not share.take(count):
                left = (limit.when() or 0.0) - loop.time()
                limit.reschedule(None)
                with passage.waiting():
                    await share.wait(count)
                limit.reschedule(loop.time() + left)

        with passage.timed("fetch", facts):
            try:
                async with asyncio.timeout(self.limits.fetch_seconds) as limit:
                    content = await self.fetch(passage.shard.tenant_id, uri, self.limits.max_document_bytes, make_room)
            except TimeoutError as error:
                if limit.expired():
                    raise DocumentFailedError(failures.fetch_overdue(self.limits.fetch_seconds)) from error
                raise
            facts["bytes"] = len(content)
        return content


@asynccontextmanager
async def open_pipeline(
    guardian: Guardian,
    *,
    sources: Sources,
    database: Pool,
    isolation: Isolation,
    limits: Limits,
    stages: Stages | None = None,
    model: Choice = MINILM,
    endpoint: Embedder | None = None,
    artifacts: Artifacts | None = None,
) -> AsyncIterator[Pipeline]:
    """A pipeline with up to ``limits.children`` children of each kind; they are ended at its exit.

    ``model`` says what texts are measured by and, without an ``endpoint``, what children embed with. ``artifacts`` keep slices that
    were recognised; none: they are not kept.
    Raises ChildStartError when not even the first of each kind starts, ConfigurationError when a stage cannot be loaded.
    """
    chosen = stages or Stages()
    recipes = Recipes(chosen, str(model), limits.reading)
    fetch: Fetch = plugins.load("DOCTRAIN_STAGE_FETCH", chosen.fetch) if chosen.fetch else sources.get
    index: Index = plugins.load("DOCTRAIN_STAGE_INDEX", chosen.index)
    parse = ChildSpec(
        PARSE.function,
        prepare=PARSE.prepare,
        memory_bytes=limits.document_memory_bytes,
        reply_bytes=8 * _MIB,
        environment=((READ_VARIABLE, chosen.read), (CHUNK_VARIABLE, chosen.chunk), (MODEL_VARIABLE, str(model))),
    )
    embed = ChildSpec(
        EMBED.function,
        prepare=EMBED.prepare,
        memory_bytes=_EMBEDDER_BYTES,
        reply_bytes=1 * _MIB,
        recycle_calls=10_000,
        environment=((MODEL_VARIABLE, str(model)),),
    )
    log.log(logging.INFO if isolation.strong else logging.WARNING, "%s", isolation.describe())
    async with AsyncExitStack() as stack:
        async with unwrapped_group() as group:  # both start at once: each takes half a second
            parsers = group.create_task(stack.enter_async_context(ChildPool.open(guardian, parse, limits.children, isolation)))
            if endpoint is None:
                embedders = group.create_task(stack.enter_async_context(ChildPool.open(guardian, embed, limits.children, isolation)))
        yield Pipeline(
            fetch=fetch,
            parsing=Parsing(parsers.result(), limits),
            embedding=Embedding(EndpointVectors(endpoint) if endpoint else ChildVectors(embedders.result(), limits)),
            index=index,
            database=database,
            room=Room((2 * limits.children + _WAITING_DOCUMENTS) * _ROOM_BYTES),
            limits=limits,
            recipes=recipes if chosen.index == Stages().index else None,
            kept=KeptSlices(artifacts, recipes, lambda passage: is_deleted(database, passage.shard, passage.document)),
        )
