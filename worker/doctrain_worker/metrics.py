"""What a worker measures. Gauges have its name, since an embedded mesh has several workers in one process."""

from __future__ import annotations

from doctrain_mesh.observability.metrics import LONG_SECONDS, Counter, Gauge, Histogram, UpDownCounter

DOCUMENTS = Counter(
    "doctrain.worker.documents",
    "{document}",
    "Documents that ended, as they are reported: `trained`, `unchanged` or `failed`, those by class.",
    ["doctrain.outcome", "doctrain.error_class"],
)
TRIES = Counter("doctrain.worker.tries", "{try}", "Tries of these documents, the last included.")
STAGE_DURATION = Histogram(
    "doctrain.worker.stage.duration",
    "s",
    "Stages that these documents passed, in whole milliseconds; `wait` is time in line, `other` are those of a processor of one's own.",
    ["doctrain.stage"],
    buckets=LONG_SECONDS,
)
DELIVERIES = Counter(
    "doctrain.worker.deliveries",
    "{message}",
    "Messages of the shard queue: `new`, `again` (of a shard that the worker has) or `unreadable`.",
    ["doctrain.kind"],
)
FENCES = Counter(
    "doctrain.worker.fences",
    "{session}",
    "Sessions that were lost: the worker heard nothing in time, or was told so, and stopped its work.",
)
CHILDREN_BUSY = UpDownCounter(
    "doctrain.worker.children.busy", "{process}", "Children that work on a call, by function.", ["doctrain.function"]
)
LANES = Gauge("doctrain.worker.lanes", "{lane}", "Its lanes: `used` or `free`.", ["doctrain.worker", "doctrain.state"])
SLOTS = Gauge("doctrain.worker.slots", "{document}", "Documents at once that its shards may run.", ["doctrain.worker"])
BLOCKS_UNANSWERED = Gauge(
    "doctrain.worker.blocks.unanswered", "{block}", "Blocks of results that no coordinator has answered yet.", ["doctrain.worker"]
)
SILENCE = Gauge("doctrain.worker.silence", "s", "Time since a heartbeat was answered; none while there is no session.", ["doctrain.worker"])
