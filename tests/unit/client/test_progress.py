"""What a person is told beside a watch, and how often."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from doctrain import Interruption, Stored, Update
from doctrain.cli.progress import Interruptions, PlainLines, StoringLines
from doctrain.errors import UnavailableError
from doctrain.v1 import training_pb2 as pb

AWAY = UnavailableError("No doctrain service could be reached.", cause="connection refused: nothing listens there")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Follower:
    def __init__(self) -> None:
        self.said: list[str] = []

    def show(self, update: Update) -> None:
        raise AssertionError("nothing to show")

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def test_a_service_that_is_away_for_a_while_is_told_once_and_so_is_its_return() -> None:
    follower = Follower()
    told = Interruptions(follower)
    for silent in (0.2, 1.0):
        told.take(Interruption(AWAY, silent, 300 - silent))
    told.take(None)
    assert follower.said == [], "a restart is not worth a word"
    for silent in (1.0, 4.0, 9.0):
        told.take(Interruption(AWAY, silent, 300 - silent))
    told.take(None)
    away, back = follower.said
    assert re.fullmatch(
        r"The service does not answer \(connection refused: nothing listens there\); trying again until \d\d:\d\d:\d\d\..*", away
    )
    assert back == "The service answers again."


def test_lines_are_fewer_the_longer_a_watch_lasts(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    plain = PlainLines(clock)
    training = pb.Training(state=pb.TRAINING_STATE_PROCESSING, total=10_000, sealed=True)
    counts = []
    for _ in range(2):
        for _ in range(600):
            plain.show(Update(training))
            clock.now += 0.5
        counts.append(len(capsys.readouterr().out.splitlines()))
    assert counts[0] < 100
    assert counts[1] < counts[0] / 2
    training.state = pb.TRAINING_STATE_QUEUED
    plain.show(Update(training))
    assert capsys.readouterr().out.startswith("queued: "), "a change of state is told at once"
    training.state = pb.TRAINING_STATE_COMPLETED
    plain.show(Update(training))
    assert capsys.readouterr().out == "", "the end has a sentence of its own"


def test_how_far_long_documents_are_is_told_below_their_training(capsys: pytest.CaptureFixture[str]) -> None:
    scan, text = pb.Document(document_id="scan.pdf"), pb.Document(document_id="text\n.md")
    scan.stages.add(name="extract", counts={"pages": 40, "pages_in_all": 1_300})
    scan.stages.add(name="ocr", counts={"pages": 38})
    text.stages.add(name="fetch")
    PlainLines().show(Update(pb.Training(state=pb.TRAINING_STATE_PROCESSING, total=2, sealed=True), under_way=(scan, text)))
    assert capsys.readouterr().out.splitlines()[1:] == ["  scan.pdf: ocr, 40 of 1,300 pages", "  text\ufffd.md: fetch"]


def test_storing_tells_how_far_it_is_where_it_takes_long(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    storing = StoringLines(clock)
    for n in range(1, 11):
        clock.now += 1.0
        storing.stored(Stored(Path(f"{n}.pdf"), 1_500_000, n, 1_200))
    assert capsys.readouterr().err.splitlines() == ["Stored 5 of 1,200 files, 7.5 MB.", "Stored 10 of 1,200 files, 15.0 MB."]
