"""The client for programs without asyncio: the same methods, each waiting for its answer.

A thread of its own runs the event loop, so a ``Client`` may be shared by threads. Iterators fetch while they are read. Callbacks, such as
``on_stored``, run on that thread: one that calls a method of the same client gets RuntimeError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc.aio

from doctrain import folder as folders
from doctrain.client import UPLOADS_AT_ONCE, AsyncClient
from doctrain.folder import Scan, Skipped
from doctrain.loop import BackgroundLoop
from doctrain.requests import Unknown
from doctrain.storing import Stored
from doctrain.sync_fleet import Fleet
from doctrain.timeouts import Timeouts
from doctrain.v1 import search_pb2, training_pb2, usage_pb2
from doctrain.watch import PATIENCE_SECONDS, Interruption, Update


class Client:
    """Access to a doctrain service; arguments and methods are those of ``AsyncClient``.

    Use it in ``with``, or call ``close``. Raises what ``AsyncClient`` does.
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
        self._client = AsyncClient(addresses, api_key=api_key, ca=ca, tenant=tenant, timeouts=timeouts, interceptors=interceptors)
        self._loop = BackgroundLoop()
        self.fleet = Fleet(self._client.fleet, self._loop)
        """What operators call."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends all calls and connections, and the thread; calls of other threads that still wait raise RuntimeError."""
        self._loop.close(self._client.close())

    def start_training(
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
        """See ``AsyncClient.start_training``."""
        return self._loop.run(
            self._client.start_training(
                documents,
                manifest_uri=manifest_uri,
                manifest_beginning=manifest_beginning,
                numbered=numbered,
                training_task_id=training_task_id,
                validate_only=validate_only,
                retrain=retrain,
            )
        )

    def get_training(self, training_task_id: str) -> training_pb2.Training:
        """See ``AsyncClient.get_training``."""
        return self._loop.run(self._client.get_training(training_task_id))

    def list_trainings(
        self, states: Iterable[training_pb2.TrainingState.ValueType | str] | str = (), *, page_size: int = 0
    ) -> Iterator[training_pb2.Training]:
        """See ``AsyncClient.list_trainings``."""
        return self._loop.iterate(self._client.list_trainings(states, page_size=page_size))

    def list_documents(
        self, training_task_id: str, states: Iterable[training_pb2.DocumentState.ValueType | str] | str = (), *, page_size: int = 0
    ) -> Iterator[training_pb2.Document]:
        """See ``AsyncClient.list_documents``."""
        return self._loop.iterate(self._client.list_documents(training_task_id, states, page_size=page_size))

    def cancel(self, training_task_id: str) -> training_pb2.Training:
        """See ``AsyncClient.cancel``."""
        return self._loop.run(self._client.cancel(training_task_id))

    def pause(self, training_task_id: str) -> training_pb2.Training:
        """See ``AsyncClient.pause``."""
        return self._loop.run(self._client.pause(training_task_id))

    def resume(self, training_task_id: str) -> training_pb2.Training:
        """See ``AsyncClient.resume``."""
        return self._loop.run(self._client.resume(training_task_id))

    def retry_failed(
        self,
        training_task_id: str,
        *,
        error_classes: Iterable[training_pb2.ErrorClass.ValueType | str] | str = (),
        document_ids: Iterable[str] | str = (),
        retry_task_id: str | None = None,
    ) -> training_pb2.Training:
        """See ``AsyncClient.retry_failed``."""
        return self._loop.run(
            self._client.retry_failed(training_task_id, error_classes=error_classes, document_ids=document_ids, retry_task_id=retry_task_id)
        )

    def explain(self, training_task_id: str) -> training_pb2.ExplainTrainingResponse:
        """See ``AsyncClient.explain``."""
        return self._loop.run(self._client.explain(training_task_id))

    def watch(
        self,
        training_task_id: str,
        *,
        include_documents: bool = False,
        patience_seconds: float = PATIENCE_SECONDS,
        on_interrupted: Callable[[Interruption | None], None] = lambda interruption: None,
    ) -> Iterator[Update]:
        """See ``AsyncClient.watch``; the callback is called in the client's own thread."""
        return self._loop.iterate(
            self._client.watch(
                training_task_id,
                include_documents=include_documents,
                patience_seconds=patience_seconds,
                on_interrupted=on_interrupted,
            )
        )

    def wait(self, training_task_id: str) -> training_pb2.Training:
        """See ``AsyncClient.wait``."""
        return self._loop.run(self._client.wait(training_task_id))

    def get_usage(self, *, first_day: date | None = None, last_day: date | None = None) -> list[usage_pb2.UsageDay]:
        """See ``AsyncClient.get_usage``."""
        return self._loop.run(self._client.get_usage(first_day=first_day, last_day=last_day))

    def get_limits(self) -> training_pb2.GetLimitsResponse:
        """See ``AsyncClient.get_limits``."""
        return self._loop.run(self._client.get_limits())

    def search(
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
        """See ``AsyncClient.search``; the callback is called in the client's own thread."""
        return self._loop.run(
            self._client.search(
                query,
                mode=mode,
                limit=limit,
                training_task_ids=training_task_ids,
                document_ids=document_ids,
                metadata=metadata,
                media_types=media_types,
                on_unknown=on_unknown,
            )
        )

    def delete_documents(
        self,
        document_ids: Iterable[str] | str = (),
        *,
        training_task_id: str = "",
        on_missing: Callable[[str], None] = lambda document_id: None,
    ) -> int:
        """See ``AsyncClient.delete_documents``; the callback is called in the client's own thread."""
        return self._loop.run(self._client.delete_documents(document_ids, training_task_id=training_task_id, on_missing=on_missing))

    def get_index(self) -> search_pb2.GetIndexResponse:
        """See ``AsyncClient.get_index``."""
        return self._loop.run(self._client.get_index())

    def upload(self, source: str | Path | bytes) -> training_pb2.UploadDocumentResponse:
        """See ``AsyncClient.upload``."""
        return self._loop.run(self._client.upload(source))

    def drop_uploads(self, *, validate_only: bool = False) -> training_pb2.DropUploadsResponse:
        """See ``AsyncClient.drop_uploads``."""
        return self._loop.run(self._client.drop_uploads(validate_only=validate_only))

    def upload_folder(
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
        """See ``AsyncClient.upload_folder``; the callbacks are called in the client's own thread."""
        return self._loop.run(
            self._client.upload_folder(
                folder,
                pattern,
                prefix=prefix,
                metadata=metadata,
                media_type=media_type,
                unpack=unpack,
                concurrency=concurrency,
                strict=strict,
                on_skipped=on_skipped,
                on_stored=on_stored,
            )
        )

    def train_folder(
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
        """See ``AsyncClient.train_folder``; the callbacks are called in the client's own thread."""
        return self._loop.run(
            self._client.train_folder(
                folder,
                pattern,
                prefix=prefix,
                metadata=metadata,
                media_type=media_type,
                unpack=unpack,
                training_task_id=training_task_id,
                validate_only=validate_only,
                retrain=retrain,
                strict=strict,
                on_skipped=on_skipped,
                on_stored=on_stored,
            )
        )
