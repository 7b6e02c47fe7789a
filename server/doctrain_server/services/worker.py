"""A worker: within this process for the embedded mesh, or standalone below its guardian."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib import metadata

from doctrain_mesh import postgres
from doctrain_mesh.documents.sources import Sources
from doctrain_mesh.embedding.choice import Kind
from doctrain_mesh.embedding.opening import open_embedder
from doctrain_mesh.errors import ConfigurationError, DoctrainError, OperationTimeoutError
from doctrain_mesh.observability import logs, metrics_endpoint, telemetry
from doctrain_mesh.ports import Broker, Registry
from doctrain_mesh.postgres import sizes
from doctrain_mesh.settings import Settings
from doctrain_mesh.supervise import first_of
from doctrain_server import adapters, required
from doctrain_server.doctor.warning import warning
from doctrain_server.sentences import leaves
from doctrain_server.services.signals import stop_requested
from doctrain_worker import app
from doctrain_worker.pipeline import plugins
from doctrain_worker.pipeline.child.formats import ocr_data
from doctrain_worker.pipeline.child_processor import ChildProcessor
from doctrain_worker.pipeline.limits import Limits
from doctrain_worker.pipeline.pipeline import open_pipeline
from doctrain_worker.pipeline.processor import Processor
from doctrain_worker.sandbox.main import isolation
from doctrain_worker.sandbox.main.isolation import Isolation, IsolationUnavailableError
from doctrain_worker.sandbox.main.link import Guardian, GuardianLostError
from doctrain_worker.sandbox.main.pool import ChildStartError

CHILD_PREFIX = "child:"
INDEX_FROZEN_SECONDS = 3.0
"""A worker that freezes while it writes index rows keeps its shard from being taken back for that long."""


class WorkerEndedError(DoctrainError):
    """A worker cannot go on by itself: its guardian is gone, or what it was to end runs on. Another may take its place."""


@asynccontextmanager
async def running(settings: Settings, *, broker: Broker, registry: Registry) -> AsyncIterator[app.Running]:
    """A worker in this process, its children below a guardian; ``session.opened`` tells when it has a session.

    Raises ConfigurationError, and WorkerEndedError when its guardian is lost or something of it does not end in time.
    """
    required.check_reading(settings)
    async with AsyncExitStack() as stack:
        stack.enter_context(_end_told(settings.process_name))
        guardian = await stack.enter_async_context(Guardian.open())
        try:
            processor = await _processor(settings, guardian, stack)
        except ChildStartError as error:
            raise DoctrainError(f"The worker ends, because no process for documents starts; see what it printed. {error}") from error
        worker = app.running(
            settings, broker=broker, registry=registry, guardian=guardian, processor=processor, version=metadata.version("doctrain-server")
        )
        yield await stack.enter_async_context(worker)


@contextmanager
def _end_told(name: str) -> Iterator[None]:
    """Makes one error of all that finds out that the guardian is gone, or that something took too long."""
    why = ""
    try:
        yield
    except* OperationTimeoutError as late:
        why = f"it could not do in time what it must: {next(leaves(late)).sentence} Start it again."
    except* GuardianLostError:
        why = "its guardian is dead or does not answer; start it again."
    if why:
        raise WorkerEndedError(f"The worker {name} ends, because {why}")


async def _processor(settings: Settings, guardian: Guardian, stack: AsyncExitStack) -> Processor:
    limits = limits_of(settings)
    if settings.processor.startswith(CHILD_PREFIX):
        function = settings.processor.removeprefix(CHILD_PREFIX)
        return await stack.enter_async_context(ChildProcessor.open(guardian, function, limits=limits, isolation=_isolation(settings)))
    if settings.processor:
        return plugins.processor("DOCTRAIN_PROCESSOR", settings.processor)
    sources = stack.enter_context(Sources.of(settings))
    database = await postgres.create_pool(
        settings.database_url, size=sizes.worker(limits.children), name="doctrain worker", frozen_seconds=INDEX_FROZEN_SECONDS
    )
    stack.push_async_callback(postgres.close_pool, database)
    stack.enter_context(postgres.measured(database, settings.process_name))
    model = settings.choose_embedding()
    endpoint = await stack.enter_async_context(open_embedder(settings)) if model.kind is Kind.ENDPOINT else None
    return await stack.enter_async_context(
        open_pipeline(
            guardian,
            sources=sources,
            database=database,
            isolation=_isolation(settings, model.reads),
            limits=limits,
            stages=plugins.stages(settings),
            model=model,
            endpoint=endpoint,
            artifacts=sources.blobs.artifacts if settings.keep_slices_days else None,
        )
    )


def _isolation(settings: Settings, reads: Sequence[str] = ()) -> Isolation:
    try:
        return isolation.choose(settings.sandbox, reads)
    except IsolationUnavailableError as error:
        raise ConfigurationError(f"DOCTRAIN_SANDBOX is {settings.sandbox}. {error}") from error


def limits_of(settings: Settings) -> Limits:
    """What documents may take of this machine. Raises ConfigurationError when a language for OCR is not installed."""
    try:
        ocr_data.files(settings.ocr_languages)
    except FileNotFoundError as error:
        raise ConfigurationError(f"DOCTRAIN_OCR_LANGUAGES is {settings.ocr_languages!r}, but {error}") from error
    return Limits(
        children=settings.children_or_cores,
        fetch_seconds=settings.fetch_seconds,
        call_seconds=settings.document_seconds,
        total_seconds=settings.document_total_seconds,
        document_memory_bytes=settings.document_memory_bytes,
        max_document_bytes=settings.max_document_bytes,
        max_document_chunks=settings.max_document_chunks,
        max_document_pages=settings.max_document_pages,
        ocr_languages=settings.ocr_languages,
        read_archives=settings.read_archives,
    )


async def run_main(settings: Settings) -> None:
    """Works until it is told to stop, then drains."""
    logs.configure(settings.log_level, settings.log_format, libraries=settings.dependency_log_level, process=settings.process_name)
    required.check_worker(settings)
    async with AsyncExitStack() as stack:
        stack.enter_context(telemetry.exporting(settings.otlp_endpoint, service="doctrain-worker", instance=settings.process_name))
        metered = metrics_endpoint.serving(settings.metrics_listen, service="doctrain-worker", instance=settings.process_name)
        await stack.enter_async_context(metered)
        stop = await stack.enter_async_context(stop_requested())
        broker = await stack.enter_async_context(adapters.open_broker(settings))
        registry = await stack.enter_async_context(adapters.open_registry(settings))
        worker = await stack.enter_async_context(running(settings, broker=broker, registry=registry))
        await stack.enter_async_context(warning(settings, documents=True))
        await first_of(worker.session.opened.wait(), stop.wait())
        if not stop.is_set():
            working = f"working as {worker.worker_id}, session {worker.session.id}"
            logs.announce(working, settings.log_format, process=settings.process_name)
        await stop.wait()
