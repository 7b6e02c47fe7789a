"""What was seen, as JSON lines in one file a kind; appended at once, so that a run that is cut off leaves its evidence."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, TextIO


class Journal:
    """Files ``<kind>.jsonl`` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, TextIO] = {}

    def write(self, kind: str, /, **facts: Any) -> None:
        """A line with ``at``, seconds of the monotonic clock, unless the facts say when."""
        file = self._files.get(kind)
        if file is None:
            file = self._files[kind] = (self._folder / f"{kind}.jsonl").open("a", buffering=1, encoding="utf-8")
        file.write(json.dumps({"at": time.monotonic(), **facts}) + "\n")

    def close(self) -> None:
        for file in self._files.values():
            file.close()


def read(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The lines of one file; a last one that was cut off is left out."""
    path = folder / f"{kind}.jsonl"
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1]]
