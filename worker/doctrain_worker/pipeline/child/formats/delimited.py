"""CSV and its neighbours: tables in text, cut into blocks of some rows, each below the table's head."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from doctrain_worker.pipeline.child import encoding
from doctrain_worker.pipeline.child.formats.content import Content
from doctrain_worker.pipeline.child.source import Source
from doctrain_worker.text.blocks import Block, tables

_LOOKED_AT = 16_384


def read(source: Source) -> Content:
    """The table."""
    return Content(_blocks(encoding.decode(source.content, source.charset)))


def _blocks(text: str) -> Iterator[Block]:
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    try:
        dialect: type[csv.Dialect] = csv.Sniffer().sniff(text[:_LOOKED_AT].rpartition("\n")[0] or text[:_LOOKED_AT], ",;\t|")
    except csv.Error:
        dialect = csv.excel
    yield from tables(csv.reader(io.StringIO(text, newline=""), dialect))
