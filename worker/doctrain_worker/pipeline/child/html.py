"""HTML to Markdown: the main content of a page, without navigation; all of it when there is no main content to be found."""

from __future__ import annotations

import logging

from doctrain_worker.pipeline.child import encoding, markdown, media

_TOO_LITTLE = 0.02
"""Main content below this share of the whole page's text is taken for a mistake of the finder's."""

_LARGEST_SEARCHED = 4 << 20
"""In a larger page, in characters, the main content is not looked for: the finder takes minutes, and it is nearly all."""


def read(content: bytes) -> str:
    """Markdown of the page."""
    page = encoding.decode(content, html=True)
    main = _main_content(page) if len(page) <= _LARGEST_SEARCHED else ""
    whole = markdown.convert(page.encode(), media.HTML) if len(main) < len(page) * _TOO_LITTLE else ""
    chosen = whole if len(whole) > 4 * len(main) else main
    return _with_title(encoding.clean(chosen), page)


def _main_content(page: str) -> str:
    import trafilatura  # 0.3 s that only children which meet HTML pay

    # What it logs names no document; a page without content ends in a refusal, which does.
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    found = trafilatura.extract(page, output_format="markdown", include_tables=True, include_formatting=True, favor_recall=True)
    return found or ""


def _with_title(body: str, page: str) -> str:
    """The page's title above its text, which the finder of main content leaves out."""
    import lxml.etree  # type: ignore[import-untyped]
    import lxml.html  # type: ignore[import-untyped]

    try:
        title = lxml.html.document_fromstring(page.encode(), parser=lxml.html.HTMLParser(encoding="utf-8")).findtext(".//title")
    except lxml.etree.ParserError:
        return body  # nothing but comments or space
    title = " ".join((title or "").split())
    return body if not title or title in body[: len(title) + 200] else f"# {title}\n\n{body}"
