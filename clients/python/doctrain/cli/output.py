"""How answers are printed: JSON lines for programs, words and columns for people.

JSON is the canonical one of the messages with the field names of the protos, in the order of the protos. Numbers of 64 bits
are strings there; fields without a value print their default, times and messages that are not set are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from doctrain.cli import times

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from doctrain.folder import Skipped
    from doctrain.v1.training_pb2 import Document, ExplainTrainingResponse, Training
    from doctrain.watch import Update

WAIT = "wait"
"""The stage of a document that waits for others; see ``DocumentStage.name``."""
_PLURAL = re.compile(r"s\b")


def as_dict(message: Message) -> dict[str, Any]:
    """The message's JSON object."""
    from google.protobuf import json_format

    content = json_format.MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return _in_order(content, message.DESCRIPTOR)


def _in_order(content: dict[str, Any], descriptor: Any) -> dict[str, Any]:
    """The same object with its keys as the proto has them; protobuf puts those with a value before the others."""
    ordered: dict[str, Any] = {}
    for field in descriptor.fields:
        if field.name not in content:
            continue
        value, kind = content[field.name], field.message_type
        if kind is not None and not kind.GetOptions().map_entry:
            if isinstance(value, list):
                value = [_in_order(one, kind) if isinstance(one, dict) else one for one in value]
            elif isinstance(value, dict):
                value = _in_order(value, kind)
        ordered[field.name] = value
    return ordered


def print_json(content: dict[str, Any]) -> None:
    """One object, one line, at once."""
    click.echo(json.dumps(content, ensure_ascii=False))


def print_message(message: Message) -> None:
    """One message as one line of JSON."""
    print_json(as_dict(message))


def print_update(update: Update) -> None:
    """One step of a watch as one line of JSON."""
    print_json(
        {
            "training": as_dict(update.training),
            "documents": [as_dict(document) for document in update.documents],
            "under_way": [as_dict(document) for document in update.under_way],
        }
    )


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, nothing: str) -> None:
    """Columns as wide as their content, or the sentence ``nothing`` when there are no rows."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    if not cells:
        click.echo(nothing)
        return
    widths = [max(len(row[column]) for row in [list(headings), *cells]) for column in range(len(headings))]
    for row in [list(headings), *cells]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def printable(text: str) -> str:
    """The text without what could steer a terminal: names and messages come from others."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def limit(number: float, none: str) -> str:
    """How much is allowed, in full; 0 is ``none``."""
    if not number:
        return none
    return f"{number:,}" if isinstance(number, int) else f"{number:,.10g}"


def count(number: int, noun: str = "document") -> str:
    """Such as ``1 document`` or ``2,000 documents``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: int) -> str:
    """Such as ``812 bytes``, ``3.2 MB`` or ``1.1 GB``."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return count(number, "byte")


def skipped_lines(skipped: Sequence[Skipped]) -> Iterator[str]:
    """Every file that is left out, with the reason."""
    from doctrain.folder import shown

    if skipped:
        yield f"Left out {count(len(skipped), 'file')} that cannot be trained:"
    for one in skipped:
        yield f"  {printable(shown(one.path))}: {one.reason}"


def training_state(training: Training) -> str:
    """The state in words, such as ``completed with failures``."""
    from doctrain.words import state_of

    return state_of(training).replace("_", " ")


def training_sentence(training: Training) -> str:
    """Where a training stands, in a line."""
    ended = training.completed + training.failed
    total = f"of {count(training.total)}" if training.sealed else f"of the {count(training.total)} read so far"
    failed = f", {training.failed:,} failed" if training.failed else ""
    unchanged = f", {training.unchanged:,} unchanged" if training.unchanged else ""
    why = training.reason or training.waiting_reason
    paused = ", paused" if training.paused else ""
    return printable(f"{training_state(training)}{paused}: {ended:,} {total} ended{failed}{unchanged}{f'. {why}' if why else ''}")


def print_training(training: Training, *, as_json: bool, note: str = "") -> None:
    """A training as a line of JSON or in words; ``note`` comes before these."""
    if as_json:
        print_message(training)
    else:
        click.echo(f"{training.training_task_id}  {note}{training_sentence(training)}")


def document_sentence(document: Document) -> str:
    """Where a document stands, in a line."""
    from doctrain.words import state_of

    took = f"  {times.seconds(document.duration):.2f} s" if document.HasField("duration") else ""
    tried = f"  {document.tries} tries" if document.tries > 1 else ""
    unchanged = "  unchanged" if document.unchanged else ""
    error = f"  {document.error.code}: {document.error.message}" if document.HasField("error") else ""
    without = f"  without what could not be read: {parts}" if (parts := unread(document)) else ""
    return printable(f"{state_of(document):<10}  {document.document_id}{took}{tried}{unchanged}{without}{error}")


def unread(document: Document) -> str:
    """Parts of the document that could not be read, and why; empty where all were."""
    return "; ".join(stage.unread for stage in document.stages if stage.unread)


def under_way_sentence(document: Document) -> str:
    """How far a document is that has run for a while: its stage, and how much of what there is."""
    far = [
        f"{stage.counts.get(kind, 0):,} of {number:,} {kind}"
        for stage in document.stages
        for kind, number in ((name.removesuffix("_in_all"), number) for name, number in stage.counts.items() if name.endswith("_in_all"))
    ]
    doing = ["waits for a free child" if stage.name == WAIT else stage.name for stage in document.stages[-1:]]
    return printable(f"{document.document_id}: {', '.join([*doing, *far[-1:]])}")


def stage_lines(document: Document) -> Iterator[str]:
    """The stages that a document passed, a line each: when it began, how long it took, and what it did."""
    for stage in document.stages:
        after = (stage.start_time.ToNanoseconds() - document.start_time.ToNanoseconds()) / 1e9
        did = ", ".join(_counted(number, name.replace("_", " ")) for name, number in sorted(stage.counts.items()))
        yield printable(f"  {stage.name:<8}  {after:+8.2f} s  {times.seconds(stage.duration):8.2f} s  {did}").rstrip()


def _counted(number: int, things: str) -> str:
    """Such as ``1 page without text``."""
    return f"{number:,} {_PLURAL.sub('', things, count=1) if number == 1 else things}"


def explanation(explained: ExplainTrainingResponse) -> Iterator[str]:
    """What holds a training, a line a rule, with the advice and who is ahead below it."""
    from doctrain.watch import has_ended

    used, others = explained.slots_in_use, explained.slots_in_use_by_others
    allowed = f"{'Allowed is' if explained.plan_slots == 1 else 'Allowed are'} {count(explained.plan_slots)} at once"
    yield f"{allowed}: handed out are {used:,} of this training, {others:,} of others."
    if explained.plan_slots_reason:
        yield printable(explained.plan_slots_reason)
    if not explained.holds:
        under_way = f" {count(explained.training.in_progress)} of it {'is' if explained.training.in_progress == 1 else 'are'} under way."
        yield "It has ended." if has_ended(explained.training) else f"Nothing holds it back.{under_way}"
    for hold in explained.holds:
        until = f" (until {times.moment(hold.until)})" if hold.HasField("until") else ""
        yield printable(f"- {hold.message}{until}")
        if hold.advice:
            yield printable(f"  What to do: {hold.advice}")
        for ahead in hold.ahead:
            yield printable(f"  {ahead.training_task_id} uses {ahead.slots:,}")
