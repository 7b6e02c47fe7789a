"""The client for asyncio.

Calls return the generated messages of ``doctrain.v1`` as they are: they are the contract itself, carry its
documentation, stay in step with it, and turn into stable JSON (``google.protobuf.json_format``). Only a watch has a type of
its own, ``Update``, since what it yields is put together from several streams.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc.aio

from doctrain import deleting, folder_training, requests, retry, storing, words
from doctrain import folder as folders
from doctrain import upload as uploads
from doctrain.endpoints import Endpoints
from doctrain.fleet import AsyncFleet
from doctrain.folder import Labels, Scan, Skipped
from doctrain.following import follow
from doctrain.paging import listed
from doctrain.requests import Unknown, new_training_task_id
from doctrain.storing import Stored, documents_of
from doctrain.timeouts import Timeouts
from doctrain.v1 import search_pb2, training_pb2, usage_pb2
from doctrain.watch import PATIENCE_SECONDS, Interruption, Update

UPLOADS_AT_ONCE = 8


class AsyncClient:
    """A tenant's, or with an operator's key an operator's, access to a doctrain service.

    Args:
        addresses: ``host:port``, several of them separated by commas, or a sequence. With several, a call goes to the next
            one when one is away.
        api_key: sent with each call; white space around it is dropped.
        ca: file of the certificate authority that signed the service's certificates, or ``"system"`` for the public ones;
            None: a connection without TLS.
        tenant: with an operator's key, the tenant whose trainings are read, held and retried; nothing is started or stored for it.
        timeouts: how long calls may take.
        interceptors: gRPC's, such as OpenTelemetry's, to be called around each call.

    Use it in ``async with``, or call ``close``. Every error of a call is a ``doctrain.errors.DoctrainError``, and so is what the
    constructor raises for a wrong address, key, CA file or tenant: UsageError, which is a ValueError too. Beside these there are
    OSError, for a file that ``upload`` cannot read, and RuntimeError, for a client that is closed.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        api_key: str,
        ca: str | Path | None = None,
        tenant: str = "",
        timeouts: Timeouts | None = None,
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._endpoints = Endpoints(addresses, api_key=api_key, ca=ca, tenant=tenant, interceptors=interceptors)
        self.fleet = AsyncFleet(self._endpoints, call_seconds=self._timeouts.call_seconds)
        """What operators call."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends all calls and connections."""
        await self._endpoints.close()

    async def start_training(
        self,
        documents: Iterable[training_pb2.DocumentInput] = (),
        *,
        manifest_uri: str = "",
        manifest_beginning: training_pb2.ManifestBeginning | None = None,
        numbered: training_pb2.NumberedDocuments | None = None,
        training_task_id: str | None = None,
        validate_only: bool = False,
        retrain: bool = False,
    ) -> training_pb2.StartTrainingResponse:
        """Starts a training of ``documents``, of a manifest, or of numbered documents: exactly one of them.

        The training always has an id before the call is made (``training_task_id`` or a random one), so that a call made
        again finds the training that the first one started. ``validate_only`` checks and starts nothing, and answers with ids that
        several documents have (``summary.duplicate_ids``) instead of raising; with it, ``manifest_beginning`` is checked in place of what
        is at ``manifest_uri``, which need not be there.
        ``retrain`` reads documents again that the index holds already as they are now.
        """
        request = requests.start_training(
            documents,
            numbered=numbered,
            training_task_id=new_training_task_id() if training_task_id is None else training_task_id,
            manifest_uri=manifest_uri,
            manifest_beginning=manifest_beginning,
            validate_only=validate_only,
            retrain=retrain,
        )
        seconds = self._timeouts.start_seconds
        return await self._endpoints.call(
            "start the training",
            lambda e: e.training.StartTraining,
            request,
            seconds=seconds,
            patience_seconds=retry.PATIENCE_SECONDS,
        )

    async def get_training(self, training_task_id: str) -> training_pb2.Training:
        """The present state of one training."""
        request = requests.made(training_pb2.GetTrainingRequest, training_task_id=training_task_id)
        seconds = self._timeouts.call_seconds
        answer = await self._endpoints.call("read the training", lambda e: e.training.GetTraining, request, seconds=seconds)
        return answer.training

    def list_trainings(
        self, states: Iterable[training_pb2.TrainingState.ValueType | str] | str = (), *, page_size: int = 0
    ) -> AsyncGenerator[training_pb2.Training, None]:
        """The tenant's trainings, newest first, all or those in ``states``; fetches page after page while it is read.

        A state is a word such as ``completed``, or a value of ``TrainingState``.
        """
        chosen = words.values(training_pb2.TrainingState, "TRAINING_STATE_", states)
        request = requests.made(training_pb2.ListTrainingsRequest, states=chosen, page_size=page_size)
        return listed(
            self._endpoints,
            "list the trainings",
            lambda e: e.training.ListTrainings,
            request,
            lambda page: page.trainings,
            seconds=self._timeouts.call_seconds,
        )

    def list_documents(
        self,
        training_task_id: str,
        states: Iterable[training_pb2.DocumentState.ValueType | str] | str = (),
        *,
        page_size: int = 0,
    ) -> AsyncGenerator[training_pb2.Document, None]:
        """A training's documents in their order, all or those in ``states``; fetches page after page while it is read.

        A state is a word such as ``failed``, or a value of ``DocumentState``.
        """
        chosen = words.values(training_pb2.DocumentState, "DOCUMENT_STATE_", states)
        request = requests.made(training_pb2.ListDocumentsRequest, training_task_id=training_task_id, states=chosen, page_size=page_size)
        return listed(
            self._endpoints,
            "list the documents",
            lambda e: e.training.ListDocuments,
            request,
            lambda page: page.documents,
            seconds=self._timeouts.call_seconds,
        )

    async def cancel(self, training_task_id: str) -> training_pb2.Training:
        """Ends a training that has not ended; an ended one is returned as it is."""
        request = requests.made(training_pb2.CancelTrainingRequest, training_task_id=training_task_id)
        seconds = self._timeouts.call_seconds
        answer = await self._endpoints.call("cancel the training", lambda e: e.training.CancelTraining, request, seconds=seconds)
        return answer.training

    async def pause(self, training_task_id: str) -> training_pb2.Training:
        """Starts nothing more of a training until it is resumed; what runs ends by itself. Safe to repeat."""
        request = requests.made(training_pb2.PauseTrainingRequest, training_task_id=training_task_id)
        seconds = self._timeouts.call_seconds
        answer = await self._endpoints.call("pause the training", lambda e: e.training.PauseTraining, request, seconds=seconds)
        return answer.training

    async def resume(self, training_task_id: str) -> training_pb2.Training:
        """Lets a paused training go on. Safe to repeat."""
        request = requests.made(training_pb2.ResumeTrainingRequest, training_task_id=training_task_id)
        seconds = self._timeouts.call_seconds
        answer = await self._endpoints.call("resume the training", lambda e: e.training.ResumeTraining, request, seconds=seconds)
        return answer.training

    async def retry_failed(
        self,
        training_task_id: str,
        *,
        error_classes: Iterable[training_pb2.ErrorClass.ValueType | str] | str = (),
        document_ids: Iterable[str] | str = (),
        retry_task_id: str | None = None,
    ) -> training_pb2.Training:
        """Starts a training of the documents that another one did not train: all, or those of some classes of failure or ids.

        These are the ones that failed and, of a training that ended early, those that were still open. A class is ``permanent``,
        ``transient``, ``resource`` or ``crash``, or a value of ``ErrorClass``. As with ``start_training`` the new training has an
        id (``retry_task_id`` or a random one) before the call is made. Raises NothingToRetryError.
        """
        words.check_training_task_id(retry_task_id)
        request = requests.made(
            training_pb2.RetryFailedDocumentsRequest,
            training_task_id=training_task_id,
            new_training_task_id=new_training_task_id() if retry_task_id is None else retry_task_id,
            error_classes=words.values(training_pb2.ErrorClass, "ERROR_CLASS_", error_classes),
            document_ids=words.several(document_ids),
        )
        seconds = self._timeouts.start_seconds
        answer = await self._endpoints.call("retry the documents", lambda e: e.training.RetryFailedDocuments, request, seconds=seconds)
        return answer.training

    async def explain(self, training_task_id: str) -> training_pb2.ExplainTrainingResponse:
        """Why a training does not run, or not faster, and what to do."""
        request = requests.made(training_pb2.ExplainTrainingRequest, training_task_id=training_task_id)
        seconds = self._timeouts.call_seconds
        return await self._endpoints.call("explain the training", lambda e: e.training.ExplainTraining, request, seconds=seconds)

    def watch(
        self,
        training_task_id: str,
        *,
        include_documents: bool = False,
        patience_seconds: float = PATIENCE_SECONDS,
        on_interrupted: Callable[[Interruption | None], None] = lambda interruption: None,
    ) -> AsyncGenerator[Update, None]:
        """Yields the present state, then every change, and ends after the last one.

        Goes on by itself, at another address if there is one, when a stream breaks or falls silent. Counts never fall, unless the
        service's database was restored to an earlier state: then the watch shows that state and tells its documents anew.
        Raises the failure when none could be opened for ``patience_seconds`` (for 10 s at the beginning); ``on_interrupted`` is
        told of each try that failed before, and None once the service answers again. With ``include_documents`` each document
        that has ended is told once, also those that ended before the watch began: of a training that has ended, all of them.
        (The last 100,000 documents told are remembered to tell none twice.)
        """
        return follow(
            self._endpoints,
            training_task_id,
            include_documents=include_documents,
            patience_seconds=patience_seconds,
            silence_seconds=self._timeouts.silence_seconds,
            on_interrupted=on_interrupted,
        )

    async def wait(self, training_task_id: str) -> training_pb2.Training:
        """Waits for the training's end and returns it as it ended."""
        last = training_pb2.Training()
        async for update in self.watch(training_task_id):
            last = update.training
        return last

    async def get_usage(self, *, first_day: date | None = None, last_day: date | None = None) -> list[usage_pb2.UsageDay]:
        """What the tenant used, by day of UTC; without days: of this month."""
        request, seconds = training_pb2.GetUsageRequest(period=requests.period(first_day, last_day)), self._timeouts.call_seconds
        return list((await self._endpoints.call("read the usage", lambda e: e.training.GetUsage, request, seconds=seconds)).days)

    async def get_limits(self) -> training_pb2.GetLimitsResponse:
        """What the tenant's plan allows, and how much of it is in use."""
        request, seconds = training_pb2.GetLimitsRequest(), self._timeouts.call_seconds
        return await self._endpoints.call("read the limits", lambda e: e.training.GetLimits, request, seconds=seconds)

    async def search(
        self,
        query: str,
        *,
        mode: search_pb2.SearchMode.ValueType | str = "hybrid",
        limit: int = 0,
        training_task_ids: Iterable[str] | str = (),
        document_ids: Iterable[str] | str = (),
        metadata: Mapping[str, str] | None = None,
        media_types: Iterable[str] | str = (),
        on_unknown: Callable[[Unknown], None] = lambda unknown: None,
    ) -> list[search_pb2.SearchHit]:
        """The passages that answer a query best: ``limit`` at most (up to 100), 10 when it is 0.

        ``mode`` is ``hybrid``, ``vectors`` or ``words``, or a value of ``SearchMode``. The others say in which documents to look:
        each that is given must allow a document, and of ``metadata`` each pair; ``on_unknown`` is told each training that is none and
        each document that is not in the index. Raises QuotaExceededError, which says when to try
        again, when too many searches of the tenant are being answered.
        """
        request = requests.search(
            query,
            mode=mode,
            limit=limit,
            metadata=metadata,
            training_task_ids=words.several(training_task_ids),
            document_ids=words.several(document_ids),
            media_types=words.several(media_types),
        )
        answer = await self._endpoints.call("search", lambda e: e.search.Search, request, seconds=self._timeouts.call_seconds)
        for unknown in requests.unknown(answer):
            on_unknown(unknown)
        return list(answer.hits)

    async def delete_documents(
        self,
        document_ids: Iterable[str] | str = (),
        *,
        training_task_id: str = "",
        on_missing: Callable[[str], None] = lambda document_id: None,
    ) -> int:
        """Takes documents out of the index, or all that a training put there; returns how many were in it. Safe to repeat.

        Trainings that were started before do not bring them back. ``on_missing`` is told the id of each that was not in the index.
        A training must have ended: else raises TrainingNotEndedError.
        """
        seconds = self._timeouts.delete_seconds
        return await deleting.delete(self._endpoints, words.several(document_ids), training_task_id, on_missing=on_missing, seconds=seconds)

    async def get_index(self) -> search_pb2.GetIndexResponse:
        """How much there is to find."""
        seconds = self._timeouts.call_seconds
        return await self._endpoints.call("read the index", lambda e: e.search.GetIndex, search_pb2.GetIndexRequest(), seconds=seconds)

    async def upload(self, source: uploads.Source) -> training_pb2.UploadDocumentResponse:
        """Stores the bytes of a file (a path), of ``bytes`` or of an async iterator, and returns their ``blob://`` URI.

        The URI follows from the content, so storing the same twice does no harm.
        """
        return await uploads.upload(self._endpoints, source, seconds=self._timeouts.upload_seconds)

    async def drop_uploads(self, *, validate_only: bool = False) -> training_pb2.DropUploadsResponse:
        """Removes what was uploaded and no training names, or with ``validate_only`` counts it; also tells the bytes that are kept.

        A manifest is named by its training until it has been read.
        """
        return await deleting.drop(self._endpoints, validate_only=validate_only, seconds=self._timeouts.delete_seconds)

    async def upload_folder(
        self,
        folder: str | Path | Scan,
        pattern: str = folders.ALL_FILES,
        *,
        prefix: str = "",
        metadata: Mapping[str, str] | None = None,
        media_type: str = "",
        unpack: bool = False,
        concurrency: int = UPLOADS_AT_ONCE,
        strict: bool = False,
        on_skipped: Callable[[Skipped], None] = lambda skipped: None,
        on_stored: Callable[[Stored], None] = lambda stored: None,
    ) -> list[training_pb2.DocumentInput]:
        """Stores the files of a folder, ``concurrency`` at once, and returns them as documents in the order of their names.

        A document's id is ``prefix`` and the file's path below the folder. Each has the ``metadata``, and for its media type
        ``media_type`` or what its name tells; ``unpack`` asks for archives to be read. Hidden files are left out. So are, each told to
        ``on_skipped`` with the reason, files that cannot be trained: empty or unreadable ones, links that lead out of the folder or
        nowhere, names that are no UTF-8 or cannot be shown, folders that cannot be read; with ``strict`` the first look at them
        raises UsageError instead, before anything is stored. ``folder`` may be one file, or a ``doctrain.folder.Scan`` to look at
        before, which says the four itself. ``on_stored`` is told each file when it is stored. Any other failure ends it.
        """
        labels = Labels(prefix, requests.pairs(metadata), media_type, unpack)
        found = await storing.scanned(folder, pattern, labels, strict=strict)
        return await documents_of(found, self._stored, concurrency=concurrency, strict=strict, on_skipped=on_skipped, on_stored=on_stored)

    async def train_folder(
        self,
        folder: str | Path | Scan,
        pattern: str = folders.ALL_FILES,
        *,
        prefix: str = "",
        metadata: Mapping[str, str] | None = None,
        media_type: str = "",
        unpack: bool = False,
        training_task_id: str | None = None,
        validate_only: bool = False,
        retrain: bool = False,
        strict: bool = False,
        on_skipped: Callable[[Skipped], None] = lambda skipped: None,
        on_stored: Callable[[Stored], None] = lambda stored: None,
    ) -> training_pb2.StartTrainingResponse:
        """Stores the files of a folder and starts their training.

        Takes the arguments of ``upload_folder`` and ``start_training``. Files that are more than one request may name, or of which
        more is said than it may hold (``get_limits`` tells both), go by a manifest. Nothing is stored with ``validate_only``, and nothing
        but that when there is a training of that id already. Raises before anything is stored QuotaExceededError when the plan allows no
        training of so many documents, or not now, and when it cannot have room for the files and their manifest, whichever of them are
        kept already, and RequestTooLargeError when the service takes no such manifest; when there turns out to be no room later, what was
        stored stays until ``drop_uploads``.
        """
        words.check_training_task_id(training_task_id)
        return await folder_training.train(
            self,
            folder,
            pattern,
            Labels(prefix, requests.pairs(metadata), media_type, unpack),
            store=self._stored,
            concurrency=UPLOADS_AT_ONCE,
            training_task_id=training_task_id,
            validate_only=validate_only,
            retrain=retrain,
            strict=strict,
            on_skipped=on_skipped,
            on_stored=on_stored,
        )

    async def _stored(self, path: Path) -> storing.Blob:
        return (answer := await self.upload(path)).uri, answer.size
