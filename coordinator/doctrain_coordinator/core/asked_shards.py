"""The shards that a stream asked to begin lately (docs/protocol.md, "Heartbeat").

A heartbeat names what its worker knew to hold when it was sent. A shard whose begin was under way then may be the session's
although it is not named: it was not lost.
"""

from __future__ import annotations


class AskedShards:
    """The shards whose begins one stream has not answered yet. Heartbeats are told apart by their count, so that no clock is asked."""

    def __init__(self) -> None:
        # The heartbeat (counted) after which the begin was answered, None while it is not.
        self._answered: dict[int, int | None] = {}
        self._heartbeats = 0

    def ask(self, shard: int) -> None:
        """A begin of that shard came."""
        self._answered[shard] = None

    def answered(self, shard: int) -> None:
        """Notes that a shard's begin is answered now."""
        self._answered[shard] = self._heartbeats

    def heartbeat(self) -> int:
        """A heartbeat came; answers its count, and forgets the shards that no heartbeat will be asked about any more."""
        self._heartbeats += 1
        self._answered = {shard: at for shard, at in self._answered.items() if at is None or at >= self._heartbeats - 2}
        return self._heartbeats

    def unnamed(self, heartbeat: int) -> set[int]:
        """The shards that the heartbeat of that count need not name: not answered yet, or only since the heartbeat before it came."""
        return {shard for shard, at in self._answered.items() if at is None or at >= heartbeat - 1}
