"""HTML: what a page says, without its navigation.

What is marked as navigation is left out. So are lists and lines that are mostly links, stand before or beside the content, and are left
out by the finder of main content, too: it takes headings, lists and short pages for boilerplate as well, so alone it is not believed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from doctrain_worker.pipeline.child import encoding
from doctrain_worker.pipeline.child.formats import markup
from doctrain_worker.pipeline.child.formats.content import Content
from doctrain_worker.pipeline.child.source import Source
from doctrain_worker.text.blocks import Block, Kind, heading

_LARGEST_SEARCHED = 4 << 20
"""In a larger page, in characters, the main content is not looked for: the finder takes minutes, and it is nearly all."""

_NAVIGATION = "|".join(
    (
        *(f".//{tag}" for tag in ("nav", "menu", "dialog")),
        *(f".//*[@role='{role}']" for role in ("navigation", "search", "menu", "menubar")),
    )
)
_LISTED = "|".join(
    (
        ".//*[self::ul or self::ol or self::dl][not(ancestor::ul or ancestor::ol or ancestor::dl)]",
        ".//p",
        ".//div[not(*[not(self::a)])]",
    )
)
"""Where links stand one after the other."""
_BESIDE = re.compile(r"\b(?:nav|menu|sidebar|breadcrumbs?|toolbar|toc|header|footer|portlet|portal|aside)|navigation", re.IGNORECASE)
"""What pages call what is not their content: in an element's name, id or classes."""
_MOSTLY = 0.6
_COMPARED = 60
"""By so many characters of its beginning a list is known again in the main content."""
_LOOKED_AT = 1000


def read(source: Source) -> Content:
    """The page."""
    page = encoding.decode(source.content, source.charset, html=True)
    tree = markup.parsed(page)
    title = markup.title(tree)
    if tree is not None:
        _remove(tree.xpath(_NAVIGATION))
        if len(page) <= _LARGEST_SEARCHED:
            _remove(_menus(tree, page))
    return Content(_titled(markup.blocks_of(tree), title))


def _menus(tree: Any, page: str) -> list[Any]:
    """What is mostly links, and no main content; nothing where there is none to be found."""
    before = set(tree.xpath("(.//h1)[1]/preceding::*"))
    known = {tree: False}
    listed = [found for found in tree.xpath(_LISTED) if _is_mostly_links(found) and (found in before or _is_beside(found, known))]
    main = _main_content(page) if listed else None
    if main is None:
        return []
    kept = {_beginning(element) for element in main.iterdescendants()}
    return [element for element in listed if _beginning(element) not in kept]


def _main_content(page: str) -> Any:
    """As a tree; None where there is none."""
    import trafilatura  # 0.3 s that only children which meet lists of links pay

    # What it logs names no document; a page without content ends in a refusal, which does.
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    found = trafilatura.extract(page, output_format="html", include_tables=True, include_formatting=True, favor_recall=True)
    return markup.parsed(found) if found else None


def _is_mostly_links(element: Any) -> bool:
    linked = [len(_words(link)) for link in element.iterdescendants("a")]
    return len(linked) > 1 and sum(linked) > _MOSTLY * len(_words(element))


def _is_beside(element: Any, known: dict[Any, bool]) -> bool:
    """Whether its name, or that of what it is in, says so; ``known``: what was asked before, and the tree."""
    asked = []
    while element not in known:
        asked.append(element)
        named = element.tag not in ("body", "html") and f"{element.tag} {element.get('id', '')} {element.get('class', '')}"
        if named and _BESIDE.search(named):
            known[element] = True
        else:
            element = element.getparent()
    known.update(dict.fromkeys(asked, known[element]))
    return known[element]


def _words(element: Any) -> str:
    return " ".join(" ".join(element.itertext()).split())


def _beginning(element: Any) -> str:
    said = ""
    for text in element.itertext():
        said = " ".join(f"{said} {text[:_LOOKED_AT]}".split())
        if len(said) >= _COMPARED:
            break
    return said[:_COMPARED]


def _remove(elements: list[Any]) -> None:
    for element in elements:
        if element.getparent() is not None:
            element.drop_tree()


def _titled(blocks: Iterator[Block], title: str) -> Iterator[Block]:
    """The page's title above its text, which the finder of main content leaves out."""
    first = next(blocks, None)
    if title and not (first is not None and first.kind is Kind.HEADING and title in first.text):
        yield heading(title, 1)
    if first is not None:
        yield from chain((first,), blocks)
