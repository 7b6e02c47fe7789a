"""HTML as blocks: what word processors and mail programs give, and what is left of a page once its main content is found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import lxml.etree  # type: ignore[import-untyped]
import lxml.html  # type: ignore[import-untyped]

from doctrain_worker.sandbox.child.refusal import Refusal
from doctrain_worker.text.blocks import Block, Kind, heading, table

_UNSEEN = frozenset({"script", "style", "noscript", "template", "head", "title", "svg", "math", "object", "iframe", "select", "textarea"})
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_INLINE = frozenset(
    {
        *("a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img", "ins", "kbd", "label"),
        *("mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr", "o:p"),
    }
)
_DEEPEST_LIST = 6
_SPACE = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\s*\n\s*")


def blocks(html: str) -> Iterator[Block]:
    """The blocks of a page, or of a part of one. Raises Refusal TOO_DEEP."""
    yield from blocks_of(parsed(html))


def blocks_of(tree: Any) -> Iterator[Block]:
    """As ``blocks``, of the tree of a page."""
    if tree is None:
        return
    said: list[str] = []
    walk = lxml.etree.iterwalk(tree, events=("start", "end"))
    for event, element in walk:
        tag = element.tag if isinstance(element.tag, str) else ""
        if event == "end":
            if tag not in _INLINE and tag != "br":
                yield from _paragraph(said)
            said.append(_flat(element.tail))
            continue
        whole = [] if tag in _UNSEEN else _whole(element, tag)
        if whole is not None:
            yield from _paragraph(said)
            yield from whole
            walk.skip_subtree()
            continue
        if tag == "br":
            said.append("\n")
        elif tag not in _INLINE:
            yield from _paragraph(said)
        said.append(_flat(element.text))


def title(tree: Any) -> str:
    """The page's title, in one line."""
    return "" if tree is None else " ".join((tree.findtext(".//title") or "").split())


def parsed(html: str) -> Any:
    """A page as a tree; None when there is nothing but comments or space. Raises Refusal TOO_DEEP."""
    parser = lxml.html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
    try:
        found = lxml.html.document_fromstring(html.encode(), parser=parser)
    except lxml.etree.ParserError:
        return None
    if any("Excessive depth" in entry.message for entry in parser.error_log):
        raise Refusal("TOO_DEEP", "The document's elements are within one another too deeply; save it in a simpler form.", resource=True)
    return found


def _whole(element: Any, tag: str) -> list[Block] | None:
    """An element that is taken as one, or None when what is within it is to be looked at one by one."""
    if tag in _HEADINGS:
        text = " ".join(_text(element).split())
        return [heading(text, _HEADINGS[tag])] if text else []
    if tag == "pre":
        text = "".join(element.itertext()).strip("\n")
        return [Block(Kind.CODE, f"```\n{text}\n```")] if text.strip() else []
    if tag in ("ul", "ol"):
        text = "\n".join(_items(element, 0))
        return [Block(Kind.LIST, text)] if text else []
    if tag == "table" and _is_data(element):
        return [table(_rows(element))]
    return None


def _paragraph(said: list[str]) -> Iterator[Block]:
    text = _lines("".join(said))
    said.clear()
    if text:
        yield Block(Kind.PARAGRAPH, f"\\{text}" if text.startswith("#") else text)


def _lines(text: str) -> str:
    return _LINES.sub("\n", _SPACE.sub(" ", text)).strip()


def _flat(text: str | None) -> str:
    """Text in which line ends mean no more than a space."""
    return (text or "").replace("\n", " ")


def _text(element: Any, *, lists: bool = True) -> str:
    """All that an element says, with space where its blocks end; ``lists`` within it too."""
    said: list[str] = []
    walk = lxml.etree.iterwalk(element, events=("start", "end"))
    for event, found in walk:
        tag = found.tag if isinstance(found.tag, str) else ""
        if event == "start":
            if tag in _UNSEEN or (not lists and tag in ("ul", "ol")):
                walk.skip_subtree()
                continue
            said += ("\n" if tag == "br" else "", _flat(found.text))
        elif found is not element:
            said += ("" if tag in _INLINE else "\n", _flat(found.tail))
    return _lines("".join(said))


def _items(element: Any, depth: int) -> Iterator[str]:
    """The items of a list and of those within it, a line or more each."""
    ordered = element.tag == "ol"
    number = 0
    for child in element:
        if child.tag in ("ul", "ol"):
            yield from _items(child, min(depth + 1, _DEEPEST_LIST))
            continue
        inner = [found for found in child.iter("ul", "ol") if _list_above(found) is element] if isinstance(child.tag, str) else []
        text = _text(child, lists=depth >= _DEEPEST_LIST) if isinstance(child.tag, str) else ""
        indent = "  " * depth
        if text:
            number += 1
            yield f"{indent}{f'{number}.' if ordered else '-'} " + text.replace("\n", f"\n{indent}  ")
        if depth < _DEEPEST_LIST:
            for found in inner:
                yield from _items(found, depth + 1)


def _list_above(element: Any) -> Any:
    return next(element.iterancestors("ul", "ol"), None)


def _is_data(element: Any) -> bool:
    """Whether a table is one, and not a way to lay a page out."""
    if next(element.iterdescendants("table"), None) is not None:
        return False
    rows = list(element.iter("tr"))
    return len(rows) > 0 and max(len(row) for row in rows) > 1 and next(element.iter("h1", "h2", "h3", "ul", "ol", "pre"), None) is None


def _rows(element: Any) -> list[list[str]]:
    """The cells; one that spans several columns stands in the first, one that spans several rows in each."""
    rows: list[list[str]] = []
    below: dict[int, tuple[int, str]] = {}
    for row in element.iter("tr"):
        cells: list[str] = []
        for cell in row.iterchildren("td", "th"):
            _fill(cells, below)
            text = _text(cell).replace("\n", " ")
            high = _span(cell, "rowspan")
            if high > 1:
                below[len(cells)] = high - 1, text
            cells.append(text)
            cells += [""] * (_span(cell, "colspan") - 1)
        _fill(cells, below)
        rows.append(cells)
    return rows


def _fill(cells: list[str], below: dict[int, tuple[int, str]]) -> None:
    """Cells of rows above that reach into this one."""
    while len(cells) in below:
        left, text = below.pop(len(cells))
        if left > 1:
            below[len(cells)] = left - 1, text
        cells.append(text)


def _span(cell: Any, name: str) -> int:
    said = cell.get(name, "1").strip()
    return min(max(int(said), 1), 100) if said.isdecimal() and len(said) < 5 else 1
