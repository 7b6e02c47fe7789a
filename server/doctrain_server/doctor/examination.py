"""Looks at the settings and at what they point to, and says what is well and what is not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from doctrain_mesh import open_files
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.errors import DoctrainError
from doctrain_mesh.network.addresses import is_loopback
from doctrain_mesh.registry import membership
from doctrain_mesh.settings import Settings
from doctrain_mesh.supervise import deadline
from doctrain_server import adapters
from doctrain_server.doctor.database import ANSWER_SECONDS, Mesh, examine_database
from doctrain_server.doctor.embedding import examine_embedding
from doctrain_server.doctor.finding import Finding, Verdict, judged
from doctrain_server.healthcheck import fault
from doctrain_worker.sandbox.main import isolation

FEWEST_FILES = 4_096
STAND_IN = "In-process stand-in"


async def examine(settings: Settings, *, alone: bool = False, documents: bool = True) -> list[Finding]:
    """Every finding of what the settings name.

    Args:
        settings: of a service, or of whoever asks.
        alone: the whole mesh is one process, as in `doctrain dev`.
        documents: they are read with these settings; a coordinator reads none.
    """
    registry, listed = await _registry(settings, alone)
    mesh = Mesh(max(1, len(listed.coordinators)), max(1, listed.workers), settings.children_or_cores)
    findings = [await asyncio.to_thread(examine_sandbox, settings)] if documents else []
    findings += [
        _open_files(),
        *await examine_database(settings, mesh),
        *await examine_embedding(settings),
        await _blobs(settings),
        await _broker(settings, alone),
    ]
    if not alone:
        findings.append(_hold(settings))
    findings.append(registry)
    if not settings.worker_key:
        findings.append(Finding("worker key", Verdict.UNKNOWN, "DOCTRAIN_WORKER_KEY is not set; workers need it, nothing else does."))
    findings += _transport(settings)
    fixed = [address.strip() for address in settings.coordinators.split(",") if address.strip()]
    addresses = dict.fromkeys([*fixed, *listed.coordinators])
    if not addresses and registry.verdict is Verdict.OK:
        sentence = "None is registered, and DOCTRAIN_COORDINATORS names none; start one: doctrain-server coordinator."
        findings.append(Finding("coordinators", Verdict.BAD, sentence))
    findings += await asyncio.gather(*(_coordinator(address, settings) for address in addresses))
    return findings


def examine_sandbox(settings: Settings) -> Finding:
    """How documents are shut in on this machine."""
    try:
        chosen = isolation.choose(settings.sandbox, settings.choose_embedding().reads)
    except isolation.IsolationUnavailableError as error:
        return Finding("sandbox", Verdict.BAD, str(error))
    return judged("sandbox", chosen.strong, chosen.describe())


def _open_files() -> Finding:
    most = open_files.most()
    needed = f"a coordinator needs one for each client and worker: allow {FEWEST_FILES:,} or more (LimitNOFILE= of systemd, `ulimit -Hn`)"
    told = "A process may have {:,} files and connections open at once{}."
    return judged("open files", most >= FEWEST_FILES, told.format(most, "" if most >= FEWEST_FILES else f"; {needed}"))


def _hold(settings: Settings) -> Finding:
    limit = settings.broker_consumer_timeout_seconds
    sentence = (
        f"A document may take {settings.document_total_seconds / 60:.0f} minutes, "
        f"as RabbitMQ's consumer_timeout is taken to be {limit:g} s. It cannot be asked for: see that it is."
    )
    return Finding("hold time", Verdict.UNKNOWN, sentence)


async def _blobs(settings: Settings) -> Finding:
    if not settings.blob_url:
        needed = "coordinators and workers need it: a folder or bucket that all of them reach"
        return Finding("blobs", Verdict.BAD, f"DOCTRAIN_BLOB_URL is not set; {needed}.")
    parts = urlsplit(settings.blob_url)
    if parts.scheme == "file":
        return await asyncio.to_thread(_blob_folder, Path(unquote(parts.path)))
    try:
        async with deadline("Asking the object store", ANSWER_SECONDS):
            await BlobStore(settings.blob_url).look()
    except DoctrainError as error:
        return Finding("blobs", Verdict.BAD, f"{settings.blob_url}: {error.sentence}")
    return Finding("blobs", Verdict.OK, f"Kept in {settings.blob_url}, which answers.")


def _blob_folder(folder: Path) -> Finding:
    above = next(parent for parent in folder.parents if parent.exists())
    if not folder.exists() and os.access(above, os.W_OK | os.X_OK):
        said = f"There is no folder {folder} yet; the first service that starts makes it. It must be one that all services reach."
        return Finding("blobs", Verdict.BAD, said)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        said = f"{folder} is no folder that this user may write to; make it, or set DOCTRAIN_BLOB_URL to one."
        return Finding("blobs", Verdict.BAD, said)
    return Finding("blobs", Verdict.OK, f"Kept in {folder}.")


async def _broker(settings: Settings, alone: bool) -> Finding:
    if settings.broker_url.startswith("memory:"):
        return _stand_in("broker", "DOCTRAIN_BROKER_URL", alone)
    try:
        async with deadline("Asking the broker", ANSWER_SECONDS), adapters.open_broker(settings) as broker:
            waiting, faults = (await broker.depth()).ready, await broker.faults()
    except DoctrainError as error:
        return Finding("broker", Verdict.BAD, error.sentence)
    return judged("broker", not faults, " ".join([f"Answers; {waiting} messages are ready.", *faults]))


@dataclass(frozen=True, slots=True)
class _Listed:
    """Whom the registry names: the addresses of coordinators, and how many workers."""

    coordinators: Sequence[str] = ()
    workers: int = 0


async def _registry(settings: Settings, alone: bool) -> tuple[Finding, _Listed]:
    """What it says, and whom it names."""
    if settings.registry_url.startswith("memory:"):
        return _stand_in("registry", "DOCTRAIN_REGISTRY_URL", alone), _Listed()
    try:
        async with deadline("Asking the registry", ANSWER_SECONDS), adapters.open_registry(settings) as registry:
            known = await registry.list(membership.ROOT)
    except DoctrainError as error:
        return Finding("registry", Verdict.BAD, error.sentence), _Listed()
    records = membership.Reader()
    coordinators = [records.read(key, value, membership.address) for key, value in known.items() if key.startswith(membership.COORDINATORS)]
    workers = sum(key.startswith(membership.WORKERS) for key in known)
    listed = _Listed([address for address in coordinators if address], workers)
    return Finding("registry", Verdict.OK, f"Answers; {len(known)} records."), listed


def _stand_in(part: str, variable: str, alone: bool) -> Finding:
    only = "" if alone else f" Other processes cannot share it: set {variable}."
    return judged(part, alone, f"{STAND_IN} ({variable} is memory:).{only}")


def _transport(settings: Settings) -> list[Finding]:
    """Whether keys and documents can be read on their way to a coordinator, or its dashboard, with these settings."""
    served = (("A coordinator", settings.listen), ("A coordinator's dashboard", settings.dashboard_listen))
    sentence = "{} serves without TLS on {}: keys and documents can be read on the way. Set DOCTRAIN_TLS_CERTIFICATE."
    found = [sentence.format(what, listen) for what, listen in served if listen and not is_loopback(listen.rpartition(":")[0])]
    return [] if settings.tls_certificate else [Finding("transport", Verdict.BAD, said) for said in found]


async def _coordinator(address: str, settings: Settings) -> Finding:
    wrong = await fault(address, settings, options="DOCTRAIN_TLS_CA")
    if wrong is None:
        return Finding(f"coordinator {address}", Verdict.OK, "Serves.")
    return Finding(f"coordinator {address}", Verdict.BAD if wrong.certain else Verdict.UNKNOWN, wrong.sentence)
