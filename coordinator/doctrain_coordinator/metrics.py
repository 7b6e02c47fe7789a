"""What a coordinator measures. Of the fleet as a whole the leader alone tells, so that sums over coordinators are right."""

from __future__ import annotations

from doctrain_mesh.observability.metrics import LONG_SECONDS, SHORT_SECONDS, Counter, Gauge, Histogram, UpDownCounter

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)

# Of every coordinator

CALLS = Histogram(
    "doctrain.calls.duration",
    "s",
    "Calls, from the first look at their key to their answer, by method and status; not those that have no span.",
    ["rpc.service", "rpc.method", "rpc.response.status_code"],
    buckets=LONG_SECONDS,
)
WATCHERS = UpDownCounter("doctrain.watchers", "{stream}", "Streams that follow a training.")
STREAMS = UpDownCounter("doctrain.worker_streams", "{stream}", "Streams of workers.")
UPLOADED = Counter("doctrain.uploads.size", "By", "Bytes of documents that were uploaded.")
TRAININGS_ACCEPTED = Counter("doctrain.trainings.accepted", "{training}", "Trainings that were stored.")
TRAININGS_ENDED = Counter("doctrain.trainings.ended", "{training}", "Trainings that ended, by state.", ["doctrain.state"])
DOCUMENTS = Counter(
    "doctrain.documents",
    "{document}",
    "Documents whose end was recorded: `trained`, `unchanged` (trained before, as they are) or `failed`, those by class.",
    ["doctrain.outcome", "doctrain.error_class"],
)
RETRIES = Counter("doctrain.documents.retries", "{try}", "Tries beyond the first of documents whose end was reported.")
COMMIT_DURATION = Histogram(
    "doctrain.commit.duration",
    "s",
    "Group commits of begins and results that succeeded, from their first statement.",
    buckets=SHORT_SECONDS,
)
COMMIT_ITEMS = Histogram("doctrain.commit.items", "{item}", "Begins and blocks of results in a group commit.", buckets=COUNTS)
BEGINS = Counter(
    "doctrain.begins", "{shard}", "Answers to workers that asked for a shard: `begun`, `not_yours` or `session_lost`.", ["doctrain.outcome"]
)
STALE_BLOCKS = Counter("doctrain.blocks.stale", "{block}", "Blocks of results that were refused: their worker no longer held the shard.")
HAND_BACKS = Counter(
    "doctrain.hand_backs",
    "{shard}",
    "Shards that their holder gave up while its session lived: `yielded`, `stopped` or `unnamed` (lost on the way to it).",
    ["doctrain.kind"],
)
TAKE_BACKS = Counter(
    "doctrain.take_backs",
    "{session}",
    "Sessions that ended, goodbyes included, by who was to blame: `charged` (its documents, perhaps), `fenced` (by itself) or `nobody`.",
    ["doctrain.blame"],
)
CHARGES = Counter(
    "doctrain.charges",
    "{charge}",
    "What shards were charged for lost sessions: a `loss` of the shard, a loss on `trial` of a document, or one that `failed` it.",
    ["doctrain.kind"],
)
TRIALS = Counter("doctrain.trials", "{document}", "Suspected documents that were let run alone.")
DEAD_LETTERS = Counter("doctrain.dead_letters", "{message}", "Messages that RabbitMQ put aside.")
CONCURRENCY_DECISIONS = Counter(
    "doctrain.concurrency.decisions", "{decision}", "Changes of what plans allow, by direction: `up` or `down`.", ["doctrain.direction"]
)
REPUBLISHED = Counter("doctrain.grants.republished", "{shard}", "Granted shards that were not begun in time and were published again.")
RESIZES = Counter(
    "doctrain.resizes",
    "{shard}",
    "Changes of how many documents of a shard in flight may run at once: `wider`, or `narrower` as its worker is told.",
    ["doctrain.direction"],
)
PUBLISHER_QUEUE = Gauge("doctrain.publisher.queue", "{message}", "Granted shards that RabbitMQ has not confirmed yet.")
LEADING = Gauge("doctrain.leading", "{coordinator}", "1 where this coordinator leads, else 0.")
REMOVAL_FAILING = Gauge(
    "doctrain.removal.failing",
    "{step}",
    "What could not be removed when it was tried last, and is tried again: how many of the deleted `tenants`, and 1 for `trainings`, "
    "`uploads`, `old_artifacts` and `audit` (what is too old of them), `removed_trainings`, `broken_uploads` and `late_artifacts` (what is "
    "left of them); 0 where another coordinator removes.",
    ["doctrain.step"],
)

# Of the leader alone

SHARDS = Gauge(
    "doctrain.shards",
    "{shard}",
    "Shards that have not ended: `pending` (those of paused trainings included), `dispatched`, `running` or `stopping`.",
    ["doctrain.state"],
)
OPEN_DOCUMENTS = Gauge("doctrain.documents.open", "{document}", "Documents of shards that have not ended.")
OLDEST_WAIT = Gauge(
    "doctrain.shards.oldest_wait",
    "s",
    "Age of the oldest training that has a shard that may be granted; 0: there is none. Paused trainings do not count.",
)
TENANT_SHARDS = Gauge(
    "doctrain.tenant.shards",
    "{shard}",
    "Shards that wait, those of paused trainings included, of the 50 tenants with the most shards that have not ended; `_other` are those "
    "of all others.",
    ["doctrain.tenant_id"],
)
TENANT_SLOTS = Gauge("doctrain.tenant.slots", "{slot}", "Slots that the same tenants use.", ["doctrain.tenant_id"])
USED_DOCUMENTS = Gauge(
    "doctrain.tenant.usage.documents",
    "{document}",
    "Documents that were used, by how they ended: `trained`, `unchanged` or `failed`. Of the 50 tenants with the most in the two days; "
    "`_other` are those of all others.",
    ["doctrain.tenant_id", "doctrain.day", "doctrain.outcome"],
)
USED_PAGES = Gauge("doctrain.tenant.usage.pages", "{page}", "Pages that were read of them.", ["doctrain.tenant_id", "doctrain.day"])
USED_BYTES = Gauge("doctrain.tenant.usage.size", "By", "Bytes that were fetched of them.", ["doctrain.tenant_id", "doctrain.day"])
USED_SECONDS = Gauge(
    "doctrain.tenant.usage.duration",
    "s",
    "What their stages took; `other` are those of a processor of one's own.",
    ["doctrain.tenant_id", "doctrain.day", "doctrain.stage"],
)
PLAN_SLOTS = Gauge(
    "doctrain.plan.slots",
    "{slot}",
    "Documents at once that each tenant of a plan may have, of the first 100 plans by name: `guaranteed`, `burst` (at most) and `allowed` "
    "(now, orders for the plan included).",
    ["doctrain.plan", "doctrain.kind"],
)
LANES = Gauge("doctrain.lanes", "{lane}", "Lanes of workers that take new work: `used` or `free`.", ["doctrain.state"])
SESSIONS = Gauge(
    "doctrain.sessions",
    "{session}",
    "Sessions that have not ended: `live`, `spared` (not well, and works all the same), `unfit`, `unsubscribed` (its connection to "
    "RabbitMQ is lost), `cordoned`, `draining`, `silent` (heartbeats are missing) or `lost` (seen to be, not yet taken back). The first "
    "two take new work.",
    ["doctrain.state"],
)
BROKER_MESSAGES = Gauge("doctrain.broker.messages", "{message}", "Messages that are ready in RabbitMQ's shard queue.")
BROKER_CONSUMERS = Gauge("doctrain.broker.consumers", "{consumer}", "Consumers of RabbitMQ's shard queue: workers, as it knows them.")
