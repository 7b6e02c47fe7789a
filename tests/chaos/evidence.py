"""All evidence of one run, read from its folder: nothing of it was said by the mesh about itself, but for the workers' execution logs.

Those name the attempt, which a document's own processing cannot know; where documents ran, and when, is in the ledger.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from chaos import journal

Key = tuple[str, int]
"""(training's id, document's number)."""

FROZEN_SECONDS = 0.6
"""A document that wrote nothing for so long, though it writes every tenth of a second, did not run meanwhile."""


@dataclass
class Execution:
    """One reading of one document in one child: spans of time in which it certainly ran, its end if it wrote one."""

    document: Key
    pid: int
    hash: str
    start: float
    spans: list[tuple[float, float]]
    ended: bool = False

    @property
    def last(self) -> float:
        """When it was last seen to run."""
        return self.spans[-1][1]


@dataclass
class Evidence:
    """See the module. ``rest`` is what stood at rest, and whether all trainings ended in time."""

    folder: Path
    lines: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The journal's lines of a kind."""
        if kind not in self.lines:
            self.lines[kind] = journal.read(self.folder, kind)
        return self.lines[kind]

    @cached_property
    def rest(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "rest.json").read_text()))

    @property
    def finished(self) -> bool:
        return bool(self.rest["finished"])

    @cached_property
    def database(self) -> dict[str, list[dict[str, Any]]]:
        return dict(json.loads((self.folder / "database.json").read_text()))

    @cached_property
    def accepted(self) -> dict[str, dict[str, Any]]:
        """The first acceptance of each training that a client was told of."""
        found: dict[str, dict[str, Any]] = {}
        for line in self.of("accepted"):
            found.setdefault(line["training"], line)
        return found

    @cached_property
    def trainings(self) -> dict[str, dict[str, Any]]:
        """Rows by the client's id (ids differ over all tenants here)."""
        return {row["task_id"]: row for row in self.database["trainings"]}

    @cached_property
    def documents(self) -> dict[int, list[dict[str, Any]]]:
        """Rows by their training's key, by ordinal."""
        found: dict[int, list[dict[str, Any]]] = collections.defaultdict(list)
        for row in sorted(self.database["documents"], key=lambda row: row["ordinal"]):
            found[row["training"]].append(row)
        return found

    @cached_property
    def executions(self) -> list[Execution]:
        """By their start."""
        found: dict[tuple[int, int], Execution] = {}
        for line in self.of("ledger"):
            key = line["pid"], line["key"]
            if line["event"] == "start":
                document = line["training"], line["number"]
                found[key] = Execution(document, line["pid"], line["hash"], line["at"], [(line["at"], line["at"])])
                continue
            execution = found[key]
            begin, end = execution.spans[-1]
            if line["at"] - end > FROZEN_SECONDS:
                execution.spans.append((line["at"], line["at"]))
            else:
                execution.spans[-1] = begin, line["at"]
            execution.ended = line["event"] == "end"
        return sorted(found.values(), key=lambda execution: execution.start)

    @cached_property
    def attempts(self) -> list[dict[str, Any]]:
        """Starts by the workers' own logs, by time: ``attempt`` is the shard's dispatch number."""
        lines = [
            json.loads(line)
            for file in sorted(self.folder.glob("*.executions.jsonl"))
            for line in file.read_text().splitlines()
            if '"event": "start"' in line
        ]
        return sorted(lines, key=lambda line: line["monotonic"])

    def shard_of(self) -> dict[tuple[str, int], int]:
        """The shard of each (training id, ordinal)."""
        names = {row["id"]: row["task_id"] for row in self.database["trainings"]}
        return dict(self._shards(names))

    def _shards(self, names: dict[int, str]) -> Iterator[tuple[tuple[str, int], int]]:
        for row in self.database["shards"]:
            for ordinal in range(row["first"], row["first"] + row["count"]):
                yield (names[row["training"]], ordinal), row["id"]
