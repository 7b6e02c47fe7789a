"""Office documents as small as they may be, made part by part."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from html import escape

_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_KIND = "application/vnd.openxmlformats-officedocument"
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_SLIDE = "http://schemas.openxmlformats.org/presentationml/2006/main"
_DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"


_MANIFEST = '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'


def archive(files: Mapping[str, str | bytes], *, packed: bool = False) -> bytes:
    """A ZIP archive of these files; the same bytes at any time, since tests are named by them."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as made:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)  # of a fixed date
            member.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            made.writestr(member, content)
    return out.getvalue()


def _open_xml(main: str, kind: str, files: dict[str, str], others: dict[str, str] | None = None) -> bytes:
    """An Office document; ``others`` are parts beside the main one with their types."""
    types = "".join(
        f'<Override PartName="/{path}" ContentType="{_KIND}.{said}+xml"/>' for path, said in {main: kind, **(others or {})}.items()
    )
    rels = "application/vnd.openxmlformats-package.relationships+xml"
    return archive(
        {
            "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" ContentType="{rels}"/>'
            f'<Default Extension="xml" ContentType="application/xml"/>{types}</Types>',
            "_rels/.rels": _relations({"r1": ("officeDocument", main)}),
            **files,
        }
    )


def _relations(related: dict[str, tuple[str, str]]) -> str:
    held = "".join(f'<Relationship Id="{name}" Type="{_OFFICE}/{kind}" Target="{to}"/>' for name, (kind, to) in related.items())
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{held}</Relationships>'


def docx(body: str) -> bytes:
    """A Word document with this body, in its XML."""
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="Heading{level}"><w:name w:val="heading {level}"/></w:style>' for level in (1, 2)
    )
    return _open_xml(
        "word/document.xml",
        "wordprocessingml.document.main",
        {
            "word/document.xml": f'<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>',
            "word/styles.xml": f'<w:styles xmlns:w="{_WORD}">{styles}</w:styles>',
            "word/_rels/document.xml.rels": _relations({"s1": ("styles", "styles.xml")}),
        },
        {"word/styles.xml": "wordprocessingml.styles"},
    )


def paragraph(*runs: str, style: str = "") -> str:
    """A paragraph of a Word document; its text may be cut into runs anywhere."""
    said = "".join(f'<w:r><w:t xml:space="preserve">{escape(run)}</w:t></w:r>' for run in runs)
    return f'<w:p><w:pPr><w:pStyle w:val="{style}"/></w:pPr>{said}</w:p>' if style else f"<w:p>{said}</w:p>"


def word_table(rows: Sequence[Sequence[str]]) -> str:
    """A table of a Word document."""
    cells = ["".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) for row in rows]
    return "<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in cells) + "</w:tbl>"


def xlsx(sheets: dict[str, Sequence[Sequence[str]]]) -> bytes:
    """A workbook; each cell is text."""
    files = {}
    for number, rows in enumerate(sheets.values(), 1):
        told = "".join("<row>" + "".join(f'<c t="inlineStr"><is><t>{escape(cell)}</t></is></c>' for cell in row) + "</row>" for row in rows)
        files[f"xl/worksheets/sheet{number}.xml"] = f'<worksheet xmlns="{_SHEET}"><sheetData>{told}</sheetData></worksheet>'
    named = "".join(f'<sheet name="{escape(name)}" sheetId="{n}" r:id="s{n}"/>' for n, name in enumerate(sheets, 1))
    return _open_xml(
        "xl/workbook.xml",
        "spreadsheetml.sheet.main",
        {
            "xl/workbook.xml": f'<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}"><sheets>{named}</sheets></workbook>',
            "xl/_rels/workbook.xml.rels": _relations(
                {f"s{n}": ("worksheet", f"worksheets/sheet{n}.xml") for n in range(1, len(sheets) + 1)}
            ),
            **files,
        },
        dict.fromkeys(files, "spreadsheetml.worksheet"),
    )


def pptx(slides: Sequence[tuple[str, Sequence[Sequence[str]]]]) -> bytes:
    """A presentation: each slide's title, and the paragraphs of its text, each in runs."""
    import pptx as library

    made = library.Presentation()
    for title, paragraphs in slides:
        slide = made.slides.add_slide(made.slide_layouts[1])
        slide.shapes.title.text = title
        frame = slide.placeholders[1].text_frame
        for number, runs in enumerate(paragraphs):
            told = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
            for run in runs:
                told.add_run().text = run
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def odt(body: str) -> bytes:
    """An OpenDocument text with this body, in its XML."""
    return _open_document("text", body)


def ods(sheets: dict[str, Sequence[Sequence[str]]]) -> bytes:
    """An OpenDocument spreadsheet; each cell is text."""
    cell = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    body = ""
    for name, rows in sheets.items():
        told = "".join("<table:table-row>" + "".join(cell.format(escape(said)) for said in row) + "</table:table-row>" for row in rows)
        body += f'<table:table table:name="{escape(name)}">{told}</table:table>'
    return _open_document("spreadsheet", body)


def _open_document(kind: str, body: str) -> bytes:
    names = "".join(f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "text", "table"))
    content = f"<office:document-content{names}><office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>"
    return archive({"mimetype": f"application/vnd.oasis.opendocument.{kind}", "META-INF/manifest.xml": _MANIFEST, "content.xml": content})


def epub(chapters: Sequence[str]) -> bytes:
    """A book whose chapters are these bodies of XHTML."""
    items = "".join(f'<item id="c{n}" href="c{n}.xhtml" media-type="application/xhtml+xml"/>' for n in range(len(chapters)))
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    xhtml = '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>x</title></head><body>{}</body></html>'
    return archive(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
            "book.opf": '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
            f"<dc:title>The book</dc:title></metadata><manifest>{items}</manifest><spine>{spine}</spine></package>",
            **{f"c{n}.xhtml": xhtml.format(chapter) for n, chapter in enumerate(chapters)},
        }
    )
