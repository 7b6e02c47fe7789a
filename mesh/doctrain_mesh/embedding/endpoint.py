"""A model behind an endpoint that speaks OpenAI's protocol (``POST …/embeddings``): OpenAI, vLLM, TEI, Ollama and others.

Texts go 32 a request, a few requests at once, no faster than the operator allows, and not at all while the endpoint asks to be left
alone (``Retry-After``). What fails for a moment is tried again here; what lasts is raised as EmbeddingUnavailableError, whatever it
is: a key that is refused or a model that is not there is the operator's to mend, and no fault of the document that met it.
No error and no log line says what the endpoint answered beside its status: some repeat the key.
"""

from __future__ import annotations

import asyncio
import http
import random
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpcore2
import msgspec

from doctrain_mesh.embedding.shortened import Shortened
from doctrain_mesh.errors import EmbeddingUnavailableError, OperationTimeoutError
from doctrain_mesh.network.http_answers import retry_after_seconds
from doctrain_mesh.observability.outage import Outage
from doctrain_mesh.supervise import deadline

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TEXTS_A_REQUEST = 32
"""As many as every known server takes."""

REQUESTS_AT_ONCE = 8
REQUEST_SECONDS = 60.0
PATIENCE_SECONDS = 20.0
"""How long a call waits for an endpoint that is away or asks to be left alone, all tries together."""

_TRIES = 4
_PAUSE_SECONDS = 0.5
_LASTING_SECONDS = 30.0
_TIMEOUTS = {"connect": 6.0, "read": REQUEST_SECONDS, "write": 15.0, "pool": REQUEST_SECONDS}
_NUMBER_BYTES = 32
_FAILURES = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError)
_BUSY = {http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_EARLY, http.HTTPStatus.TOO_MANY_REQUESTS}


class _NotNowError(EmbeddingUnavailableError):
    """May go well in a moment. ``retry_after_seconds`` is what the endpoint asked for, or None."""


class _Vector(msgspec.Struct):
    index: int
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_Vector]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An endpoint.

    Args:
        url: its base, such as ``https://host/v1``.
        model: the name by which it knows the model.
        key: sent as a bearer token; empty: none.
        dimensions: length of the model's vectors.
        max_tokens: what is longer is cut off.
        requests_per_second: most that this process makes; 0: no limit.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    dimensions: int
    max_tokens: int
    requests_per_second: float = 0.0


class Endpoint:
    """An ``Embedder``. ``close`` ends its connections.

    Args:
        context: TLS with other authorities than the system's, for tests.
    """

    def __init__(self, place: Place, context: ssl.SSLContext | None = None) -> None:
        self.name = f"openai-{place.model}-{place.dimensions}"
        self.dimensions, self.max_tokens = place.dimensions, place.max_tokens
        self._model = place.model
        parts = urlsplit(place.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self._url = httpcore2.URL(scheme=parts.scheme, host=parts.hostname or "", port=port, target=f"{parts.path}/embeddings")
        self._headers = [("Host", parts.netloc), ("User-Agent", "doctrain"), ("Content-Type", "application/json")]
        if place.key:
            self._headers.append(("Authorization", f"Bearer {place.key}"))
        self._connections = httpcore2.AsyncConnectionPool(
            ssl_context=context or ssl.create_default_context(), max_connections=REQUESTS_AT_ONCE, keepalive_expiry=30.0
        )
        self._pace = _Pace(place.requests_per_second)
        self._room = asyncio.Semaphore(REQUESTS_AT_ONCE)
        self._shortened = Shortened(place.max_tokens)
        self._outage = Outage("The embedding endpoint")

    async def close(self) -> None:
        """Closes its connections."""
        await self._connections.aclose()

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> npt.NDArray[np.float32]:
        """See ``Embedder``. Such an endpoint is not told what a query is."""
        import numpy as np

        parts = [await self._embed_some(texts[at : at + TEXTS_A_REQUEST]) for at in range(0, len(texts), TEXTS_A_REQUEST)]
        return np.concatenate([np.zeros((0, self.dimensions), dtype=np.float32), *parts])

    async def _embed_some(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        body = msgspec.json.encode({"model": self._model, "input": [self._shortened(text) or " " for text in texts]})
        clock = asyncio.get_running_loop().time
        until = clock() + PATIENCE_SECONDS
        for tried in range(_TRIES):
            try:
                async with self._room:
                    await self._pace.turn()
                    content = await self._ask(body, most_bytes=(len(texts) + 1) * self.dimensions * _NUMBER_BYTES)
                vectors = self._read(content, len(texts))
            except _NotNowError as error:
                self._outage.away(error.sentence)
                pause = error.retry_after_seconds
                if pause is None:
                    pause = random.uniform(0.5, 1.0) * _PAUSE_SECONDS * 2**tried  # noqa: S311 - no secret
                if tried == _TRIES - 1 or clock() + pause > until:
                    raise EmbeddingUnavailableError(error.sentence, retry_after_seconds=max(pause, 1.0)) from error
            except EmbeddingUnavailableError as error:
                self._outage.away(error.sentence)
                raise
            else:
                self._outage.back()
                return vectors
            await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def _ask(self, body: bytes, *, most_bytes: int) -> bytes:
        """What the endpoint answers, if it is good. Raises EmbeddingUnavailableError, _NotNowError."""
        headers = [*self._headers, ("Content-Length", str(len(body)))]
        content = bytearray()
        try:
            async with (
                deadline("Asking the embedding endpoint", REQUEST_SECONDS),
                self._connections.stream("POST", self._url, headers=headers, content=body, extensions={"timeout": _TIMEOUTS}) as response,
            ):
                self._judge(response)
                async for part in response.aiter_stream():
                    content += part
                    if len(content) > most_bytes:
                        raise EmbeddingUnavailableError("The embedding endpoint answers without end.", retry_after_seconds=_LASTING_SECONDS)
        except OperationTimeoutError as error:
            raise _NotNowError(f"The embedding endpoint did not answer within {REQUEST_SECONDS:g} s.") from error
        except _FAILURES as error:
            raise _NotNowError(f"The embedding endpoint could not be reached ({type(error).__name__}).") from error
        return bytes(content)

    def _judge(self, response: httpcore2.Response) -> None:
        status = response.status
        if status == http.HTTPStatus.OK:
            return
        if status in _BUSY or status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            told = retry_after_seconds(response.headers)
            if told:
                self._pace.hold(told)
            raise _NotNowError(f"The embedding endpoint answered {status}.", retry_after_seconds=told)
        if status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
            sentence = f"The embedding endpoint answered {status}: the operator has to set another key (DOCTRAIN_EMBEDDING_KEY)."
        else:
            sentence = (
                f"The embedding endpoint answered {status}: the operator has to see that its URL and DOCTRAIN_EMBEDDING_MODEL are right."
            )
        raise EmbeddingUnavailableError(sentence, retry_after_seconds=_LASTING_SECONDS)

    def _read(self, content: bytes, count: int) -> npt.NDArray[np.float32]:
        import numpy as np

        try:
            found = sorted(msgspec.json.decode(content, type=_Answer).data, key=lambda one: one.index)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _NotNowError("The embedding endpoint did not answer in OpenAI's form.") from error
        if [one.index for one in found] != list(range(count)):
            raise _NotNowError("The embedding endpoint did not answer one vector for each text.")
        wrong = next((len(one.embedding) for one in found if len(one.embedding) != self.dimensions), None)
        if wrong is not None:
            raise EmbeddingUnavailableError(
                f"The embedding endpoint makes vectors of {wrong} dimensions where DOCTRAIN_EMBEDDING_DIMENSIONS says {self.dimensions}.",
                retry_after_seconds=_LASTING_SECONDS,
            )
        vectors = np.array([one.embedding for one in found], dtype=np.float64)
        with np.errstate(over="ignore"):
            length = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(length).all() and (length > 0).all()):
            raise _NotNowError("The embedding endpoint made a vector without a direction.")
        normal: npt.NDArray[np.float32] = (vectors / length).astype(np.float32)
        return normal


class _Pace:
    """When the next request may go out: the operator's limit, and what the endpoint asked for."""

    def __init__(self, requests_per_second: float) -> None:
        self._gap = 1.0 / requests_per_second if requests_per_second else 0.0
        self._next = self._held_until = 0.0

    def hold(self, seconds: float) -> None:
        """The endpoint asks to be left alone for so long."""
        self._held_until = max(self._held_until, asyncio.get_running_loop().time() + seconds)

    async def turn(self) -> None:
        """Waits for a turn. Raises EmbeddingUnavailableError when the endpoint asked for more patience than there is."""
        clock = asyncio.get_running_loop().time
        start = max(clock(), self._next)
        self._next = start + self._gap
        while (seconds := max(start, self._held_until) - clock()) > 0:
            held = self._held_until - clock()
            if held > PATIENCE_SECONDS:
                raise EmbeddingUnavailableError("The embedding endpoint asks to be left alone.", retry_after_seconds=held)
            await asyncio.sleep(seconds)
