"""What a person sees while documents are stored and trained: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import click

from doctrain.cli import output, times

if TYPE_CHECKING:
    from rich.progress import Progress

    from doctrain.storing import Stored
    from doctrain.watch import Interruption, Update

LINE_SECONDS = 5.0
LINE_SHARE = 0.1
"""Plain lines come no faster than that, and the longer a watch lasts the fewer: each waits for that share of its time."""
MOST_UNDER_WAY = 3
"""Long documents that plain lines name at once."""
STORING_SECONDS = 5.0
"""Storing tells how far it is that often where no bar can."""
QUIET_SECONDS = 3.0
"""A service that is away for less, as when a coordinator restarts, is not worth a word."""


class Follower(Protocol):
    """Shows the updates of a watch."""

    def show(self, update: Update) -> None:
        """Shows where the training stands now."""

    def say(self, sentence: str) -> None:
        """Tells a person something beside."""


class JsonLines:
    """Every update as a line of JSON."""

    def show(self, update: Update) -> None:
        output.print_update(update)

    def say(self, sentence: str) -> None:
        pass


class PlainLines:
    """A sentence at each change of state, and in between, where it says something else, one in some seconds, later fewer."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._state = 0
        self._told = float("-inf")
        self._sentences: list[str] = []

    def show(self, update: Update) -> None:
        from doctrain.watch import has_ended

        for document in update.documents:
            click.echo(output.document_sentence(document))
        if has_ended(update.training):
            return  # told by a sentence of its own
        now = self._clock()
        pause = max(LINE_SECONDS, LINE_SHARE * (now - self._began))
        if update.training.state != self._state or now - self._told >= pause:
            self._state, self._told = update.training.state, now
            long = [f"  {output.under_way_sentence(document)}" for document in update.under_way[:MOST_UNDER_WAY]]
            more = [f"  and {len(update.under_way) - MOST_UNDER_WAY:,} more"] if len(update.under_way) > MOST_UNDER_WAY else []
            pace = f"  {told}" if (told := times.pace(update.training)) else ""
            sentences = [f"{output.training_sentence(update.training)}{pace}", *long, *more]
            if sentences != self._sentences:
                self._sentences = sentences
                click.echo("\n".join(sentences))

    def say(self, sentence: str) -> None:
        click.echo(sentence, err=True)


class _Bar:
    """A live bar that moves a document at a time."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("queued", total=None, note="")

    def show(self, update: Update) -> None:
        for document in update.documents:
            self._progress.console.print(output.document_sentence(document), markup=False, highlight=False)
        training = update.training
        # The clock is the training's, not the watch's, however often the watch begins anew.
        task = self._progress.tasks[self._task]
        task.start_time = self._progress.get_time() - times.elapsed_seconds(training, datetime.now(UTC))
        self._progress.update(
            self._task,
            description=output.training_state(training),
            total=training.total or None,
            completed=training.completed + training.failed,
            note=_note(update),
        )

    def say(self, sentence: str) -> None:
        self._progress.console.print(sentence, markup=False, highlight=False)


class Interruptions:
    """Tells a person that the service is away, and that it is back, each once."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._told = False

    def take(self, interruption: Interruption | None) -> None:
        """What a watch says when it tries again, and None when it goes on."""
        if interruption is None:
            if self._told:
                self._follower.say("The service answers again.")
            self._told = False
        elif not self._told and interruption.silent_seconds >= QUIET_SECONDS:
            self._told = True
            why = output.printable(interruption.error.cause or interruption.error.sentence.rstrip("."))
            until = datetime.now().astimezone() + timedelta(seconds=interruption.left_seconds)
            self._follower.say(
                f"The service does not answer ({why}); trying again until {until:%H:%M:%S}. The training goes on without a watch."
            )


def _note(update: Update) -> str:
    training = update.training
    notes = [f"{training.failed} failed"] if training.failed else []
    if not training.sealed:
        notes.append("the manifest is being read")
    if training.waiting_reason:
        notes.append(training.waiting_reason)
    notes += [pace] if (pace := times.pace(training)) else []
    notes += [output.under_way_sentence(document) for document in update.under_way[:1]]
    return output.printable(", ".join(notes))


@contextmanager
def following(*, as_json: bool) -> Iterator[Follower]:
    """What shows a watch here: JSON lines, a bar, or plain lines."""
    if as_json:
        yield JsonLines()
    elif sys.stdout.isatty():
        with _progress() as progress:
            yield _Bar(progress)
    else:
        yield PlainLines()


class Storing(Protocol):
    """Shows how far the storing of files is."""

    def stored(self, one: Stored) -> None:
        """One more file is stored."""


class _StoringQuietly:
    def stored(self, one: Stored) -> None:
        pass


class StoringLines:
    """A line on standard error now and then, where it takes long."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told = clock()
        self._bytes = 0

    def stored(self, one: Stored) -> None:
        self._bytes += one.size
        now = self._clock()
        if now - self._told >= STORING_SECONDS:
            self._told = now
            click.echo(f"Stored {one.files:,} of {output.count(one.of, 'file')}, {output.size(self._bytes)}.", err=True)


class _StoringBar:
    def __init__(self, progress: Progress, files: int) -> None:
        self._progress = progress
        self._task = progress.add_task("storing", total=files, note="")
        self._bytes = 0

    def stored(self, one: Stored) -> None:
        self._bytes += one.size
        self._progress.update(self._task, advance=1, note=output.size(self._bytes))


@contextmanager
def storing(files: int, *, as_json: bool) -> Iterator[Storing]:
    """What shows how many of so many files are stored."""
    if as_json:
        yield _StoringQuietly()
    elif not sys.stdout.isatty():
        yield StoringLines()
    else:
        with _progress() as progress:
            yield _StoringBar(progress, files)


def _progress() -> Progress:
    # rich takes a tenth of a second to import, and only a terminal needs it.
    from doctrain.cli.noted_progress import NotedProgress

    return NotedProgress()
