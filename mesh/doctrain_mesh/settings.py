"""The settings of every process: one frozen object, read once from ``DOCTRAIN_*`` variables, checked at start.

Units stand in the names. docs/reference/settings.md is made from the field metadata here (``scripts/gen_settings.py``).
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import socket
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_type_hints

from doctrain_mesh.embedding import ModelError
from doctrain_mesh.embedding.choice import Choice, Kind, choose
from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.network import addresses, uris

PREFIX = "DOCTRAIN_"
ACK_SECONDS = 60.0
ALONE_SECONDS = 7200.0
LARGEST_PORT = 65_535
ALIKE = 0.7
"""How alike an unknown name and a known one must be, 0 to 1, for one to be the other's slip."""
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
CLIENT_VARIABLES = frozenset({"DOCTRAIN_ADDRESS", "DOCTRAIN_API_KEY", "DOCTRAIN_CA", "DOCTRAIN_PROFILE"})


def _setting(
    default: Any, doc: str, *, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = (), secret: bool = False
) -> Any:
    return field(default=default, metadata={"doc": doc, "low": low, "high": high, "choices": choices, "secret": secret})


def _stage(doc: str) -> Any:
    return _setting("", f"Replaces the stage that {doc}: an entry point of `doctrain.stages` or `package.module:attribute`.")


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a deployment may choose. Every field is the variable ``DOCTRAIN_`` + its name in capitals."""

    # Where the parts are
    database_url: str = _setting("", "Postgres, as a libpq URL. Required by the services; `doctrain dev` brings its own.", secret=True)
    broker_url: str = _setting("memory:", "RabbitMQ as `amqp://` or `amqps://` URL; `memory:` is for `doctrain dev` alone.", secret=True)
    broker_queue: str = _setting("doctrain.shards", "Name of the shard queue; its dead letters go to this name with `.dead`.")
    broker_consumer_timeout_seconds: float = _setting(
        1800.0, "RabbitMQ's `consumer_timeout`, which cannot be asked for; a worker hands a shard back well before.", low=1
    )
    registry_url: str = _setting(
        "memory:",
        "etcd as `etcd://host:port[,host:port]` (`etcds://` with TLS). `memory:` is for `doctrain dev`; elsewhere workers then need "
        "`DOCTRAIN_COORDINATORS`.",
        secret=True,
    )
    registry_ca: str = _setting("", "File of the CA that signed etcd's certificate; empty: the system's.")
    registry_certificate: str = _setting("", "File with the certificate chain (PEM) that is shown to etcd; empty: none.")
    registry_key: str = _setting("", "File with its private key (PEM).")
    blob_url: str = _setting(
        "",
        "Where document bytes are kept: `file:///folder`, `s3://bucket/prefix` (another server than Amazon's in `AWS_ENDPOINT_URL`), "
        "`gs://bucket/prefix` or `az://container/prefix`.",
    )

    # What documents may be
    file_root: str = _setting("", "Folder below which `file://` URIs may point; empty: `file://` is refused.")
    allow_private_addresses: bool = _setting(
        False, "Let `https://` and `http://` URIs reach private addresses; for tests and closed networks."
    )
    max_document_bytes: int = _setting(512 * 2**20, "Largest document.", low=1, high=2**32 - 2**20)
    max_document_chunks: int = _setting(
        60_000, "Most chunks that a document may be cut into; a megabyte of text makes about 1,400.", low=1, high=1_000_000
    )
    max_document_pages: int = _setting(5000, "Most pages of a document; each that has no text takes a second or two to recognise.", low=1)
    read_archives: bool = _setting(
        False,
        "Whether archives (ZIP, tar) and compressed files are read, member by member; one whose media type says `unpack` is read anyway.",
    )
    ocr_languages: str = _setting(
        "eng+deu",
        "What is recognised on pages without text (OCR): tesseract's names of languages with `+` between. English and German come with "
        "doctrain, others with the distribution (`tesseract-ocr-fra`); each takes more time.",
    )
    keep_slices_days: float = _setting(
        30.0,
        "How long pages that were recognised (OCR) are kept beside the documents' bytes, for when their document is read again after a "
        "crash, a retry or a change of how it is cut; 0: they are not kept. A delete of their document removes them at once.",
        low=0,
    )
    keep_trainings_days: float = _setting(
        0.0,
        "How long an ended training is kept, with the record of its documents; then it is found no more, cannot be retried, and its id is "
        "free. What it put into the index stays. 0: for ever.",
        low=0,
    )
    keep_uploads_days: float = _setting(
        0.0, "How long uploads and inline documents are kept that no kept training names; 0: for ever.", low=0
    )
    keep_audit_days: float = _setting(365.0, "How long entries of the audit log are kept; 0: for ever.", low=0)
    max_request_bytes: int = _setting(64 * 2**20, "Largest StartTraining request.", low=2**20, high=2**30)
    max_request_documents: int = _setting(10_000, "Most documents in one StartTraining request.", low=1, high=100_000)
    max_manifest_documents: int = _setting(10_000_000, "Most documents of a manifest or a numbered request.", low=1)

    # The model that texts are embedded with, of workers and coordinators alike
    embedding: str = _setting(
        "minilm",
        "The model: `minilm`, which comes with doctrain; `onnx:/folder`; `openai:https://host/v1`; or an entry point of `doctrain.models` "
        "or `package.module:attribute`. After a change, train everything again.",
    )
    embedding_model: str = _setting("", "Name by which an `openai:` endpoint knows the model; another model, another name.")
    embedding_key: str = _setting("", "API key of an `openai:` endpoint; empty: none.", secret=True)
    embedding_dimensions: int = _setting(
        0, "Length of the vectors of an `openai:` endpoint; what it answers must have it.", low=0, high=16_000
    )
    embedding_max_tokens: int = _setting(512, "Longest text for an `openai:` endpoint; what is longer is cut off.", low=256)
    embedding_requests_per_second: float = _setting(
        0.0, "Most requests of one process to an `openai:` endpoint, each of up to 32 texts; 0: as many as come, 8 at once.", low=0
    )

    # Coordinator
    listen: str = _setting("127.0.0.1:7700", "Address the coordinator serves on, as `host:port`; port 0 takes a free one.")
    advertise: str = _setting("", "Address that workers reach this coordinator at; empty: the one it listens on for them.")
    dashboard_listen: str = _setting(
        "", "Address the coordinator serves its dashboard on, as `host:port`, for browsers; empty: none. TLS as for the coordinator."
    )
    name: str = _setting("", "Name of this process in the registry, unique in the fleet; empty: host name and process id.")
    tls_certificate: str = _setting(
        "",
        "File with this process's certificate chain (PEM): a coordinator serves with it (empty: no TLS), a worker shows it to coordinators "
        "that ask for one. A coordinator reads it again when it changes.",
    )
    tls_key: str = _setting("", "File with its private key (PEM).")
    worker_listen: str = _setting(
        "", "Address for workers alone, as `host:port`, on which they must show a certificate; empty: they come where tenants do."
    )
    tls_worker_ca: str = _setting("", "File of the CA that workers' certificates must come from; goes with `DOCTRAIN_WORKER_LISTEN`.")
    reflection: bool = _setting(True, "Whether the server describes its services (gRPC server reflection).")
    lease_seconds: float = _setting(10.0, "A session whose beat stands still for this long is taken back.", low=1, high=600)
    beat_seconds: float = _setting(1.0, "Time between a worker's heartbeats.", low=0.05, high=60)
    loss_before_trial: int = _setting(2, "Losses of a shard before its suspects go on trial.", low=1)
    losses_on_trial: int = _setting(3, "Losses on trial that fail a document.", low=1)
    load_patience_seconds: float = _setting(
        21_600.0, "How long a manifest may stay unreadable, with nothing of it loaded, before its training fails.", low=60
    )
    watch_heartbeat_seconds: float = _setting(10.0, "Time without change after which a watcher gets a sign of life.", low=0.1)
    drain_seconds: float = _setting(
        25.0, "Longest time that a process takes to shut down in order; ending its connections may take up to 5 s more.", low=0
    )

    # When a worker is not well, and takes no new work until it is
    health_memory_share: float = _setting(
        0.95, "Most of the memory that a worker's machine or cgroup allows, 0 to 1, that may be in use.", low=0.01, high=1
    )
    health_disk_free_share: float = _setting(0.02, "Least of the disk that a worker writes to, 0 to 1, that must be free.", low=0, high=1)
    health_loop_lag_seconds: float = _setting(3.0, "How late a worker's main process may be with what is due.", low=0.01)
    health_failure_share: float = _setting(
        0.5, "Most of what a worker tries in a minute, 0 to 1, that may crash or reach a limit; counted from 20 tries on.", low=0, high=1
    )
    health_stuck_factor: float = _setting(
        2.0, "A worker that runs documents and has ended none for so many times the longest that one may take is stuck.", low=1
    )
    health_ill_seconds: float = _setting(15.0, "How long a worker must be beyond a limit before it takes no new work.", low=0)
    health_well_seconds: float = _setting(
        60.0, "How long it must then be well to take work again; twice as long after each relapse, an hour at most.", low=0
    )
    health_out_share: float = _setting(
        0.5,
        "Most of the workers, 0 to 1, rounded down, that may be out of work for their health or by an operator's order before one that is "
        "not well works all the same; one always does.",
        low=0,
        high=1,
    )

    # When plans that may burst allow more documents at once than they guarantee
    concurrency_wait_seconds: float = _setting(
        10.0, "Age of a training with work that waits at its tenant's limit from which its plan may allow more.", low=0
    )
    concurrency_cpu_share: float = _setting(
        0.9,
        "Most of the workers' processors as a whole, 0 to 1, that may be in use; below four fifths of it more may be.",
        low=0.01,
        high=1,
    )
    concurrency_latency_seconds: float = _setting(
        0.5, "How long a commit of results, or RabbitMQ's confirmation, may take; below four fifths of it more may be allowed.", low=0.001
    )

    # Worker
    coordinators: str = _setting("", "Fixed list of coordinators, `host:port[,host:port]`, beside those the registry knows.")
    worker_key: str = _setting("", "API key of role worker.", secret=True)
    tls_ca: str = _setting("", "File of the CA that signed the coordinators' certificates; empty: connections without TLS.")
    lanes: int = _setting(6, "Shards that the worker runs at once.", low=1, high=256)
    lane_slots: int = _setting(5, "Documents at once within a shard, at most.", low=1, high=64)
    children: int = _setting(
        0, "Processes of each kind: so many read documents, and so many embed them; 0: one of each kind a core.", low=0, high=1024
    )
    fence_margin_seconds: float = _setting(2.0, "How much earlier than the lease a worker fences itself.", low=0.2)
    hold_seconds: float = _setting(
        600.0, "Longest time a worker holds a shard before it hands back the documents that it has not started.", low=1
    )
    fetch_seconds: float = _setting(300.0, "Longest time until all bytes of a document have come from where its URI leads.", low=0.1)
    document_seconds: float = _setting(
        300.0,
        "Longest time of one step of a document in a child: reading it, or cutting or embedding a batch of its chunks. The document as a "
        "whole may take `DOCTRAIN_BROKER_CONSUMER_TIMEOUT_SECONDS` less `DOCTRAIN_HOLD_SECONDS` and a minute for reports; two hours in "
        "`doctrain dev`.",
        low=0.1,
    )
    document_memory_bytes: int = _setting(2 * 2**30, "Most memory that the process reading a document may take.", low=64 * 2**20)
    max_tries: int = _setting(4, "Tries of a document whose failures are transient.", low=1, high=100)
    resource_tries: int = _setting(2, "Tries of a document that reaches a limit of time, memory or space.", low=1, high=100)
    crash_tries: int = _setting(2, "Tries of a document that crashes the process that reads it.", low=1, high=100)
    processor: str = _setting(
        "",
        "Replaces the whole pipeline: an entry point of `doctrain.processors`, `package.module:attribute`, or "
        "`child:package.module:function` for a function that runs in sandboxed children.",
    )
    stage_fetch: str = _stage("fetches a document's bytes")
    stage_read: str = _stage("makes text of them")
    stage_chunk: str = _stage("cuts the text into chunks")
    stage_index: str = _stage("writes them into the index")
    sandbox: str = _setting(
        "auto",
        "How children are shut in, from strong to weak; `auto`: as strongly as works.",
        choices=("auto", "bwrap", "unshare", "rlimit"),
    )
    execution_log: str = _setting(
        "", "File to which the worker appends a line at each start and end of a document, by which tests see what ran; empty: none."
    )

    # Telemetry
    otlp_endpoint: str = _setting("", "OTLP/gRPC collector for traces, as `http://host:port`; empty: no traces.")
    metrics_listen: str = _setting(
        "",
        "Address on which the process serves its metrics to Prometheus, as `host:port`, at `/metrics`; port 0 takes a free one, which the "
        "log tells; empty: nothing is measured. It asks for no key.",
    )
    trace_documents: float = _setting(0.01, "Share of documents that get a span of their own.", low=0, high=1)
    log_level: str = _setting("INFO", "What is logged of doctrain itself, and all that is worse.", choices=_LEVELS)
    dependency_log_level: str = _setting("WARNING", "What is logged of libraries and plug-ins, and all that is worse.", choices=_LEVELS)
    log_format: str = _setting("text", "`text` for people, `json` for machines.", choices=("text", "json"))

    @property
    def process_name(self) -> str:
        """``name``, or host name and process id."""
        return self.name or f"{socket.gethostname()}-{os.getpid()}"

    def choose_embedding(self) -> Choice:
        """The model that ``embedding`` names. Raises ConfigurationError."""
        try:
            choice = choose(self.embedding)
        except ModelError as error:
            raise ConfigurationError(f"DOCTRAIN_EMBEDDING cannot be used. {error}") from error
        if choice.kind is Kind.ENDPOINT and not (self.embedding_model and self.embedding_dimensions):
            raise ConfigurationError("An openai: endpoint needs DOCTRAIN_EMBEDDING_MODEL and DOCTRAIN_EMBEDDING_DIMENSIONS.")
        return choice

    @property
    def children_or_cores(self) -> int:
        """Children of each kind: as many as are set, else as many as this machine has cores."""
        return self.children or os.cpu_count() or 1

    @property
    def document_total_seconds(self) -> float:
        """How long a document may take from its start to its end: what RabbitMQ leaves to one that starts at the end of a hold.

        Within one process no broker loses patience, so there it is two hours at least.
        """
        left = self.broker_consumer_timeout_seconds - self.hold_seconds - ACK_SECONDS
        return max(left, ALONE_SECONDS) if self.broker_url == "memory:" else left

    @property
    def least_hold_seconds(self) -> float:
        """How long a worker must be able to keep a message: the hold, a document with few steps that starts at its end, and the reports."""
        return self.hold_seconds + self.fetch_seconds + 2 * self.document_seconds + ACK_SECONDS


def load(environment: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """Reads the settings; raises ConfigurationError that says which variable is wrong and what to do."""
    kinds = get_type_hints(Settings)
    known = {PREFIX + f.name.upper(): f for f in dataclasses.fields(Settings)}
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable in CLIENT_VARIABLES:
            continue
        setting = known.get(variable)
        if setting is None:
            names = [name.removeprefix(PREFIX) for name in known]
            near = difflib.get_close_matches(variable.removeprefix(PREFIX), names, n=1, cutoff=ALIKE)
            hint = f" Did you mean {PREFIX}{near[0]}?" if near else " See docs/reference/settings.md."
            raise ConfigurationError(f"The setting {variable} is unknown.{hint}")
        values[setting.name] = _parse(variable, text, kinds[setting.name])
    values.update(overrides)
    settings = Settings(**values)
    for setting in dataclasses.fields(Settings):
        _check(setting, getattr(settings, setting.name))
    settings.choose_embedding()
    if settings.fence_margin_seconds + 2 * settings.beat_seconds >= settings.lease_seconds:
        raise ConfigurationError(
            "DOCTRAIN_LEASE_SECONDS must be larger than DOCTRAIN_FENCE_MARGIN_SECONDS and two beats together, "
            "else workers fence themselves while all is well."
        )
    _check_certificates(settings)
    _check_listens(settings)
    if settings.advertise and not addresses.is_endpoint(settings.advertise):
        raise ConfigurationError(f"DOCTRAIN_ADVERTISE is {settings.advertise!r}; it must be HOST:PORT, such as host-a:7700.")
    if settings.blob_url and (fault := uris.store_fault(settings.blob_url)):
        raise ConfigurationError(f"DOCTRAIN_BLOB_URL is {settings.blob_url!r}. {fault}")
    held, limit = settings.least_hold_seconds, settings.broker_consumer_timeout_seconds
    if held > limit:
        raise ConfigurationError(
            f"A shard may be held for {held:g} s (DOCTRAIN_HOLD_SECONDS, DOCTRAIN_FETCH_SECONDS, twice DOCTRAIN_DOCUMENT_SECONDS and "
            f"{ACK_SECONDS:g} s for its reports), but RabbitMQ closes the channel after {limit:g} s "
            "(DOCTRAIN_BROKER_CONSUMER_TIMEOUT_SECONDS). Shorten the hold, or raise RabbitMQ's consumer_timeout and that setting with it."
        )
    return settings


def read_file(variable: str, file: str) -> bytes:
    """What is in the file that a setting names; raises ConfigurationError."""
    try:
        return Path(file).read_bytes()
    except FileNotFoundError as error:
        raise ConfigurationError(f"{variable} names the file {file}, which does not exist.") from error
    except OSError as error:
        raise ConfigurationError(f"{variable} names the file {file}, which cannot be read ({error.strerror}).") from error


def _check_certificates(settings: Settings) -> None:
    for one, other in (("tls_certificate", "tls_key"), ("registry_certificate", "registry_key"), ("worker_listen", "tls_worker_ca")):
        given, lacking = (one, other) if getattr(settings, one) else (other, one)
        if getattr(settings, given) and not getattr(settings, lacking):
            raise ConfigurationError(
                f"{PREFIX}{given.upper()} is set, but {PREFIX}{lacking.upper()} is not set; one is of no use without the other."
            )
    if settings.worker_listen and not settings.tls_certificate:
        raise ConfigurationError(
            "DOCTRAIN_WORKER_LISTEN is set, but DOCTRAIN_TLS_CERTIFICATE is not set; who asks for certificates needs one, too."
        )


def _check_listens(settings: Settings) -> None:
    given = [("DOCTRAIN_LISTEN (in `doctrain dev` --listen)", settings.listen, 7700)]
    if settings.dashboard_listen:
        given.append(("DOCTRAIN_DASHBOARD_LISTEN (in `doctrain dev` --dashboard)", settings.dashboard_listen, 7780))
    if settings.metrics_listen:
        given.append(("DOCTRAIN_METRICS_LISTEN", settings.metrics_listen, 9464))
    if settings.worker_listen:
        given.append(("DOCTRAIN_WORKER_LISTEN", settings.worker_listen, 7701))
    for variable, listen, usual in given:
        host, _, port = listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > LARGEST_PORT:
            raise ConfigurationError(f"{variable} is {listen!r}; it must be HOST:PORT, such as 127.0.0.1:{usual} or 0.0.0.0:{usual}.")


def _parse(variable: str, text: str, kind: Any) -> Any:
    if isinstance(kind, types.UnionType):
        kind = get_args(kind)[0]
    try:
        if kind is bool:
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.strip().lower()]
        return kind(text)
    except (ValueError, KeyError) as error:
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "text")
        raise ConfigurationError(f"{variable} is not {wanted}.") from error


def _check(setting: dataclasses.Field[Any], value: Any) -> None:
    low, high, choices = (setting.metadata[name] for name in ("low", "high", "choices"))
    wanted = ""
    if choices and value not in choices:
        wanted = f"{', '.join(choices[:-1])} or {choices[-1]}"
    elif isinstance(value, float) and not math.isfinite(value):
        wanted = "a finite number"
    elif (low is not None and value < low) or (high is not None and value > high):
        wanted = " and ".join(f"{word} {bound}" for word, bound in (("at least", low), ("at most", high)) if bound is not None)
    if wanted:
        raise ConfigurationError(f"{PREFIX}{setting.name.upper()} is {value}; it must be {wanted}.")
