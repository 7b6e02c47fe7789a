"""Words for states go in and come out."""

from __future__ import annotations

import pytest

from doctrain import DocumentState, TrainingState, state_of, words
from doctrain.errors import UsageError
from doctrain.v1 import training_pb2 as pb


def test_what_a_state_reads_as_may_be_asked_for() -> None:
    for number in TrainingState.values():
        if number:
            assert words.value(TrainingState, "TRAINING_STATE_", state_of(pb.Training(state=number))) == number
    assert state_of(pb.Document(state=pb.DOCUMENT_STATE_CANCELLED)) == "cancelled"
    assert words.values(DocumentState, "DOCUMENT_STATE_", "failed") == [pb.DOCUMENT_STATE_FAILED]


def test_a_state_of_a_later_service_is_its_number() -> None:
    assert state_of(pb.Training.FromString(b"\x10\x63")) == "99"


def test_an_unknown_word_is_told_with_those_that_are_known() -> None:
    with pytest.raises(UsageError, match="'done' is none of: queued, processing, completed"):
        words.value(TrainingState, "TRAINING_STATE_", "done")
