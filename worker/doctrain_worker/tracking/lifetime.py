"""The session that the worker has, if any: which it is, until when it may run, and whether it is over.

``core.tenure`` decides; here its decisions reach the guardian, which kills children at the deadline, and the gate, which starts no
documents after it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field

from doctrain_mesh.errors import ConfigurationError
from doctrain_worker.core.tenure import Tenure
from doctrain_worker.sandbox.main.link import Guardian
from doctrain_worker.sandbox.shared.memory import Predecessor
from doctrain_worker.tracking.exchange import Hello, Welcome
from doctrain_worker.tracking.gate import Gate, Shut
from doctrain_worker.tracking.intake import Intake

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """What the worker says of itself."""

    worker_id: str
    key: str = field(repr=False)
    lanes: int
    version: str
    margin_seconds: float


class Lifetime:
    """Of one session after another.

    Attributes:
        tenure: what decides.
        opened: set while a session is open.
        over: set once the session is to be fenced, until the next ``begins``.
    """

    def __init__(self, identity: Identity, guardian: Guardian, gate: Gate, intake: Intake) -> None:
        self._identity, self._guardian, self._gate, self._intake = identity, guardian, gate, intake
        self._predecessor, self._secret = guardian.predecessor, b""
        self.tenure = Tenure(identity.margin_seconds)
        self.opened = asyncio.Event()
        self.over = asyncio.Event()
        gate.close(Shut.DETACHED)

    @property
    def session(self) -> int:
        """The session's key; 0 while there is none."""
        return self.tenure.session

    @property
    def unsubscribed(self) -> bool:
        """Whether the worker is to take messages and its broker is known to deliver none."""
        return self._intake.unsubscribed

    @property
    def named(self) -> tuple[int, str]:
        """The session and the worker, for the log."""
        return self.session, self._identity.worker_id

    @property
    def hello(self) -> Hello:
        """Asks for another stream of the session, or for a new one."""
        identity = self._identity
        return Hello(identity.worker_id, identity.lanes, identity.version, self.session, self._secret, self._predecessor)

    def begins(self) -> None:
        """A session is to be opened."""
        self.over.clear()

    def welcomed(self, welcome: Welcome, asked: float) -> bool:
        """A coordinator answered to what it was asked at that time; whether it has the session. Raises ConfigurationError."""
        lease, beat = welcome.lease_seconds, welcome.beat_seconds
        if not welcome.session:
            log.warning("Session %d of %s was taken back.", *self.named)
            return False
        if not self.tenure.fits(lease, beat):
            raise ConfigurationError(
                f"DOCTRAIN_FENCE_MARGIN_SECONDS is {self._identity.margin_seconds:g} here, but the coordinators' lease is {lease:g} s with "
                f"a heartbeat every {beat:g} s: the worker would stop its own work while all is well. Make the margin at most half of the "
                "lease, and shorter than the lease by more than two heartbeats."
            )
        if not self.session:
            self._secret = welcome.secret
            self._guardian.note_session(welcome.session, welcome.secret)
            log.info("%s is in session %d.", self._identity.worker_id, welcome.session)
        self.tenure.welcomed(welcome.session, lease, beat, asked)
        self.told(cordoned=welcome.cordoned)
        return self.extend()

    def carried(self, asked: float) -> None:
        """The stream that was asked for then carries it from now on; documents may start."""
        self.tenure.carried(asked)
        self._gate.open(Shut.DETACHED)
        self.opened.set()

    def detached(self) -> None:
        """No stream carries it; nothing starts."""
        self._gate.close(Shut.DETACHED)
        self.tenure.detached(time.monotonic())

    def extend(self) -> bool:
        """Children may run on until the deadline that the tenure has now; answers whether they do."""
        self._guardian.extend(self.tenure.deadline)
        self._gate.extend(self.tenure.deadline)
        return not self._guardian.fenced

    def told(self, *, cordoned: bool) -> None:
        """A coordinator said whether the worker is to take no messages."""
        if self._intake.told(cordoned=cordoned):
            log.info("%s takes %s shards.", self._identity.worker_id, "no new" if cordoned else "new")

    def lost(self) -> None:
        """A coordinator answered that the session was taken back."""
        if not self.over.is_set():
            log.warning("Session %d of %s was taken back.", *self.named)
        self.end()

    def end(self) -> None:
        """It is over, and to be fenced."""
        self.over.set()
        self.opened.clear()

    def shut(self) -> None:
        """It is about to be fenced: nothing starts in it."""
        self._gate.close(Shut.DETACHED)
        self.opened.clear()

    def fenced(self) -> None:
        """Nothing of it runs: the next session names it as its predecessor."""
        if session := self.tenure.ended():
            self._predecessor = Predecessor(session, self_fenced=True, secret=self._secret)
            self._secret = b""
