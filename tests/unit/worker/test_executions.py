"""The file in which a worker notes what it runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from doctrain_worker.pipeline.processor import DONE, DocumentTask, Outcome, ShardContext, answers_at_once
from doctrain_worker.shards.executions import logged

DOCUMENT = DocumentTask(3, "report.pdf", "s3://acme/report.pdf")
SHARD = ShardContext(1, "acme", 7, "training", 7, 11, 2, 41)


class AtOnce:
    def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        return DONE


class Hanging:
    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        await asyncio.sleep(3600)
        return DONE


class Failing:
    def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        raise ValueError("no")


def events(file: Path) -> list[tuple[str, Any, Any, Any]]:
    lines = map(json.loads, file.read_text().splitlines())
    return [(line["event"], line["worker"], line["document_id"], line["attempt"]) for line in lines]


BOTH = [("start", "worker-1", "report.pdf", 2), ("end", "worker-1", "report.pdf", 2)]


def test_a_document_is_noted_at_its_start_and_at_its_end_however_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "executions.jsonl"
    with logged(AtOnce(), str(file), "worker-1") as processor:
        assert answers_at_once(processor)
        assert processor.process(DOCUMENT, SHARD) is DONE
    with logged(Failing(), str(file), "worker-1") as processor, pytest.raises(ValueError, match="no"):
        processor.process(DOCUMENT, SHARD)
    assert events(file) == [*BOTH, *BOTH]


async def test_a_document_that_is_cancelled_is_noted_too(tmp_path: Path) -> None:
    file = tmp_path / "executions.jsonl"
    with logged(Hanging(), str(file), "worker-1") as processor:
        assert not answers_at_once(processor)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(processor.process(DOCUMENT, SHARD), 0.01)  # type: ignore[arg-type]
    assert events(file) == BOTH


def test_without_a_file_the_processor_is_left_as_it_is() -> None:
    plain = AtOnce()
    with logged(plain, "", "worker-1") as processor:
        assert processor is plain
