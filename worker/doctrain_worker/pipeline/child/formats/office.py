"""ODT, ODS, ODP, XLSX, EPUB and XML, by kreuzberg: without its cache, its own threads or its own idea of OCR."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import kreuzberg

from doctrain_worker.pipeline.child import encoding, media
from doctrain_worker.pipeline.child.formats import zipped
from doctrain_worker.pipeline.child.formats.content import Content
from doctrain_worker.pipeline.child.source import Source
from doctrain_worker.sandbox.child.refusal import Refusal
from doctrain_worker.text.blocks import Block, Kind, heading, table, tables

_ENCRYPTED = "The document is protected by a password; save it without one and train it again."
_UNSEEN_LAYERS = ("header", "footer")


def read(source: Source) -> Content:
    """The document's text. Raises Refusal ENCRYPTED, CORRUPT, UNSUPPORTED or TOO_LARGE."""
    content, media_type = source.content, source.media_type
    if media_type == media.XML:
        content = encoding.decode(content, source.charset).encode()
    else:
        zipped.check(content)
    sheets = media_type in (media.XLSX, media.ODS)
    found = _extract(content, media_type, structure=not sheets)
    return Content(_sheets(found) if sheets else _blocks(found))


@cache
def _configuration(*, structure: bool) -> kreuzberg.ExtractionConfig:
    return kreuzberg.ExtractionConfig(  # type: ignore[call-arg] # its stubs lack disable_ocr
        disable_ocr=True,
        use_cache=False,
        output_format="plain",
        include_document_structure=structure,
        concurrency=kreuzberg.ConcurrencyConfig(max_threads=1),
    )


def _extract(content: bytes, media_type: str, *, structure: bool) -> kreuzberg.ExtractionResult:
    try:
        return kreuzberg.extract_bytes_sync(content, media_type, _configuration(structure=structure))
    except kreuzberg.ParsingError as error:
        raise _refusal(str(error)) from error
    except kreuzberg.ValidationError as error:
        raise Refusal("UNSUPPORTED", f"Documents of type {media_type} cannot be trained yet; save it as PDF or plain text.") from error
    except kreuzberg.KreuzbergError as error:
        raise _refusal(str(error)) from error


def _refusal(message: str) -> Refusal:
    if "password" in message.lower() or "encrypted" in message.lower():
        return Refusal("ENCRYPTED", _ENCRYPTED)
    return Refusal("CORRUPT", media.CORRUPT)


def _sheets(found: kreuzberg.ExtractionResult) -> Iterator[Block]:
    """Each sheet below its name; a sheet is a page."""
    names: Any = found.metadata.get("sheet_names") or []
    for sheet in found.tables:
        number = sheet.page_number
        if number <= len(names):
            yield heading(encoding.clean(names[number - 1]), 2, number)
        yield from tables(([encoding.clean(cell) for cell in row] for row in sheet.cells), number)


def _blocks(found: kreuzberg.ExtractionResult) -> Iterator[Block]:
    nodes: Any = found.document["nodes"] if found.document else []
    for node in nodes:
        if node.get("parent") is None and node.get("content_layer") not in _UNSEEN_LAYERS:
            yield from _node(nodes, node)


def _node(nodes: Any, node: Any) -> Iterator[Block]:
    content = node["content"]
    kind = content["node_type"]
    if kind == "list":
        yield Block(Kind.LIST, "\n".join(_items(nodes, node, 0)))
        return
    if kind == "table":
        yield _table(content["grid"])
    elif kind in ("heading", "title"):
        yield heading(encoding.clean(content["text"]), content.get("level", 1))
    elif kind == "code":
        yield Block(Kind.CODE, f"```\n{encoding.clean(content['text'])}\n```")
    elif text := encoding.clean(content.get("text") or "").strip():
        yield Block(Kind.PARAGRAPH, text)
    for child in node.get("children") or ():
        yield from _node(nodes, nodes[child])


def _items(nodes: Any, node: Any, depth: int) -> Iterator[str]:
    ordered = node["content"].get("ordered", False)
    for number, child in enumerate(node.get("children") or (), 1):
        inner = nodes[child]
        if inner["content"]["node_type"] == "list":
            yield from _items(nodes, inner, depth + 1)
            continue
        text = " ".join(encoding.clean(inner["content"].get("text") or "").split())
        if text:
            yield f"{'  ' * depth}{f'{number}.' if ordered else '-'} {text}"
        for below in inner.get("children") or ():
            yield from _items(nodes, nodes[below], depth + 1)


def _table(grid: Any) -> Block:
    rows = [[""] * grid["cols"] for _ in range(grid["rows"])]
    for cell in grid["cells"]:
        rows[cell["row"]][cell["col"]] = encoding.clean(cell["content"])
    return table(rows)
