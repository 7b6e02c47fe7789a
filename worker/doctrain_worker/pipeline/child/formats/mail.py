"""Mail: its head, its body, and its attachments as parts; as EML by the standard library, as MSG by oxmsg."""

from __future__ import annotations

import email
import email.policy
import mimetypes
import re
from collections.abc import Iterator
from email.message import EmailMessage, Message
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from doctrain_worker.pipeline.child import encoding
from doctrain_worker.pipeline.child.formats import markup, zipped
from doctrain_worker.pipeline.child.formats.content import Attached, Content
from doctrain_worker.pipeline.child.source import Source
from doctrain_worker.text import markdown
from doctrain_worker.text.blocks import Block, Kind, heading

if TYPE_CHECKING:
    import oxmsg

_LONGEST_HEADER = 20_000
_NAMED = ("From", "To", "Cc", "Date")
_STATED = re.compile(r"""(=\?|\*\d*\*?=\s*"?)[^?'\s;]+(?=[?'])""")


class _Policy(email.policy.EmailPolicy):
    """What the head of a mail states as encodings may be none: some that Python knows raise what its parser does not expect."""

    def header_fetch_parse(self, name: str, value: str) -> Any:
        try:
            return super().header_fetch_parse(name, value)
        except ValueError:
            return super().header_fetch_parse(name, _STATED.sub(r"\1unknown", value))


_POLICY = _Policy()


def read(source: Source) -> Content:
    """An EML file."""
    message = cast("EmailMessage", email.message_from_bytes(source.content, policy=_POLICY))
    head = {name: _header(message, name) for name in ("Subject", *_NAMED)}
    body = message.get_body(("plain", "html"))
    blocks = _body(body) if body is not None else iter(())
    return Content(chain(_head(head.pop("Subject"), head), blocks), parts=_attachments(message, body))


def _header(message: EmailMessage, name: str) -> str:
    """What a line of the head says; of a very long one its beginning, since the time to make sense of it grows faster than it does."""
    raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
    return str(message.policy.header_fetch_parse(name, str(raw)[:_LONGEST_HEADER]))


def _head(subject: str, named: dict[str, str]) -> Iterator[Block]:
    if subject.strip():
        yield heading(encoding.clean(subject), 1)
    lines = [f"{name}: {encoding.clean(' '.join(said.split()))}" for name, said in named.items() if said.strip()]
    if lines:
        yield Block(Kind.PARAGRAPH, "\n".join(lines))


def _body(body: Message) -> Iterator[Block]:
    text = _text(body)
    yield from markup.blocks(text) if body.get_content_subtype() == "html" else markdown.blocks(text)


def _text(body: Message) -> str:
    """What a part of type text says, in the encoding that it names, or the one that it is in."""
    payload = body.get_payload(decode=True)
    return encoding.decode(payload if isinstance(payload, bytes) else b"", body.get_content_charset(""))


def _attachments(message: Message, body: Message | None) -> Iterator[Attached]:
    """Everything that is not the body, nor the same as it in another form; a mail within is a part with parts of its own."""
    if message.get_content_type() == "multipart/alternative":
        return
    for number, part in enumerate(_inner(message), 1):
        if part is body or (body is not None and part.is_multipart() and any(inner is body for inner in part.walk())):
            if part is not body:
                yield from _attachments(part, body)
        elif part.get_content_maintype() == "multipart":
            yield from _attachments(part, body)
        else:
            yield _attached(part, number)


def _inner(message: Message) -> list[Message]:
    if not message.is_multipart():
        return []  # its payload as text is decoded by what it states, which may be no encoding
    return [part for part in cast("list[object]", message.get_payload()) if isinstance(part, Message)]


def _attached(part: Message, number: int) -> Attached:
    kind = part.get_content_type()
    ending = ".eml" if kind == "message/rfc822" else mimetypes.guess_extension(kind) or ""
    name = part.get_filename() or f"part-{number}{ending}"
    charset = part.get_content_charset("").partition(";")[0] if part.get_content_maintype() == "text" else ""

    def load(_most: int) -> bytes:
        if kind == "message/rfc822":
            inner = _inner(part)
            return inner[0].as_bytes() if inner else b""
        payload = part.get_payload(decode=True)
        return payload if isinstance(payload, bytes) else b""

    return Attached(name, f"{kind}; charset={charset}" if charset else kind, load)


def read_msg(source: Source) -> Content:
    """An MSG file. Raises Refusal CORRUPT."""
    import oxmsg  # only children which meet MSG pay

    with zipped.damage_told():
        message = oxmsg.Message.load(source.content)
        recipients = ", ".join(f"{one.name} <{one.email_address}>" for one in message.recipients)
        date = message.sent_date
        named = {"From": message.sender or "", "To": recipients, "Date": date.isoformat() if date is not None else ""}
        plain, html = message.body or "", message.html_body or ""
        body = markdown.blocks(encoding.clean(plain)) if plain.strip() else markup.blocks(encoding.clean(html))
        return Content(chain(_head(message.subject, named), body), parts=[_of_msg(found) for found in message.attachments])


def _of_msg(found: oxmsg.attachment.Attachment) -> Attached:
    def load(_most: int) -> bytes:
        with zipped.damage_told():
            return found.file_bytes or b""

    return Attached(found.file_name or "attachment", found.mime_type or "", load)
