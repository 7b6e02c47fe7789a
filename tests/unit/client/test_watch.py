"""The resume logic of a watch, without network or clock."""

import grpc
import pytest

from doctrain import retry
from doctrain.errors import Details, DoctrainError, InternalError, NotFoundError, UnavailableError
from doctrain.v1 import training_pb2 as pb
from doctrain.watch import CONNECT_PATIENCE_SECONDS, Watching, has_ended

AWAY = UnavailableError("away", status=grpc.StatusCode.UNAVAILABLE)


def watching(include_documents: bool = False, addresses: int = 2, patience_seconds: float = 60.0) -> Watching:
    return Watching("t", include_documents=include_documents, addresses=addresses, now=0.0, patience_seconds=patience_seconds)


def message(
    version: int = 0, completed: int = 0, state: pb.TrainingState.ValueType = pb.TRAINING_STATE_PROCESSING, documents: tuple[str, ...] = ()
) -> pb.WatchStatusResponse:
    return pb.WatchStatusResponse(
        training=pb.Training(training_task_id="t", state=state, completed=completed, version=version) if version else None,
        documents=[pb.Document(document_id=name) for name in documents],
        resume_position=f"p{version}",
    )


def test_changes_are_shown_once() -> None:
    watch = watching()
    first = watch.received(message(1, 1), 0.0)
    again = watch.received(message(1, 1), 0.0)
    later = watch.received(message(2, 2), 0.0)
    assert first is not None
    assert later is not None
    assert (first.training.completed, again, later.training.completed) == (1, None, 2)


def test_another_reason_to_wait_is_news_and_tells_no_document_again() -> None:
    watch = watching(include_documents=True)
    watch.received(message(3, 1, documents=("a",)), 0.0)
    waits = message(3, 1, documents=("a",))
    waits.training.waiting_reason = "No worker is connected."
    told = watch.received(waits, 1.0)
    assert told is not None
    assert (told.training.waiting_reason, told.documents) == ("No worker is connected.", ())


def test_heartbeats_are_consumed_and_move_the_position() -> None:
    watch = watching()
    watch.received(message(1, 1), 0.0)
    assert watch.received(pb.WatchStatusResponse(heartbeat=True, resume_position="later"), 5.0) is None
    assert watch.request().resume_position == "later"


def test_an_earlier_state_is_the_truth_of_a_restored_database() -> None:
    watch = watching()
    watch.received(message(7, 40), 0.0)
    watch.pause_after(AWAY, 1.0, 0.5)
    assert watch.request().resume_position == "p7"
    restored = watch.received(message(5, 30), 1.0)
    assert restored is not None
    assert restored.training.completed == 30
    assert watch.request().resume_position == "p5"


@pytest.mark.parametrize("version", [6, 7])
def test_a_training_that_ends_sooner_after_a_restore_ends_its_watch(version: int) -> None:
    watch = watching()
    watch.received(message(7, 40), 0.0)
    ended = watch.received(message(version, 41, pb.TRAINING_STATE_COMPLETED), 1.0)
    assert ended is not None
    assert has_ended(ended.training)
    assert watch.finished


def test_documents_that_are_trained_again_after_a_restore_are_told_again() -> None:
    watch = watching(include_documents=True)
    watch.received(message(7, 2, documents=("a", "b")), 0.0)
    watch.received(message(5, 1), 1.0)
    again = watch.received(message(documents=("a", "b")), 1.0)
    assert again is not None
    assert [document.document_id for document in again.documents] == ["a", "b"]


def test_it_ends_after_the_final_state() -> None:
    watch = watching()
    update = watch.received(message(3, 3, pb.TRAINING_STATE_COMPLETED), 0.0)
    assert update is not None
    assert has_ended(update.training)
    assert watch.finished


def test_with_documents_it_ends_with_the_stream_since_documents_may_follow_the_final_state() -> None:
    watch = watching(include_documents=True)
    watch.received(message(3, 3, pb.TRAINING_STATE_COMPLETED, ("a",)), 0.0)
    assert not watch.finished
    more = watch.received(message(documents=("b",)), 0.0)
    assert more is not None
    assert [document.document_id for document in more.documents] == ["b"]
    assert has_ended(more.training)
    assert watch.stream_ended() is None
    assert watch.finished


def test_documents_that_come_before_the_first_state_wait_for_it() -> None:
    watch = watching(include_documents=True)
    assert watch.received(message(documents=("a", "b")), 0.0) is None
    update = watch.received(message(3, 3, pb.TRAINING_STATE_COMPLETED, ("c",)), 0.0)
    assert update is not None
    assert [document.document_id for document in update.documents] == ["a", "b", "c"]


def test_a_document_is_told_once_over_a_break() -> None:
    watch = watching(include_documents=True)
    watch.received(message(1, 1, documents=("a", "b")), 0.0)
    watch.pause_after(AWAY, 1.0, 0.5)
    watch.request()
    assert watch.received(message(documents=("a", "b")), 1.0) is None
    more = watch.received(message(documents=("b", "c")), 1.0)
    assert more is not None
    assert [document.document_id for document in more.documents] == ["c"]


def test_the_memory_of_documents_told_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doctrain.watch.REMEMBERED_DOCUMENTS", 2)
    watch = watching(include_documents=True)
    watch.received(message(1), 0.0)

    def told(*names: str) -> list[str]:
        update = watch.received(message(documents=names), 0.0)
        return [document.document_id for document in update.documents] if update else []

    assert told("a", "b") == ["a", "b"]
    assert told("a") == []
    assert told("c") == ["c"]
    assert told("a", "c") == [], "the last ones told are remembered"
    assert told("b") == ["b"]


def test_an_orderly_end_before_the_final_state_is_a_break() -> None:
    watch = watching()
    watch.received(message(1), 0.0)
    failure = watch.stream_ended()
    assert isinstance(failure, UnavailableError)
    assert not watch.finished
    assert watch.pause_after(failure, 1.0, 0.0) == 0.0


def test_the_next_address_is_tried_at_once_and_a_round_is_followed_by_a_growing_pause() -> None:
    watch = watching(addresses=2)
    pauses = [watch.pause_after(AWAY, 1.0, 0.999) for _ in range(8)]
    assert all(pause <= retry.HOP_PAUSE_SECONDS for pause in pauses[::2])
    assert pauses[1::2] == pytest.approx([0.2, 0.4, 0.8, 1.6], rel=0.01)


def test_a_message_makes_the_next_break_the_first_one_again() -> None:
    watch = watching(addresses=1)
    assert [round(watch.pause_after(AWAY, 1.0, 0.999), 1) for _ in range(2)] == [0.2, 0.4]
    watch.received(message(1), 1.0)
    assert round(watch.pause_after(AWAY, 1.0, 0.999), 1) == 0.2


def test_the_services_own_word_on_when_to_come_back_is_kept() -> None:
    later = UnavailableError("away", details=Details(reason="DEPENDENCY_UNAVAILABLE", retry_after_seconds=7))
    assert watching(addresses=1).pause_after(later, 0.0, 0.0) == 7


def test_it_gives_up_soon_when_nothing_was_ever_heard_and_patiently_later() -> None:
    silent = watching()
    silent.pause_after(AWAY, CONNECT_PATIENCE_SECONDS - 0.1, 0.0)
    with pytest.raises(UnavailableError):
        silent.pause_after(AWAY, CONNECT_PATIENCE_SECONDS, 0.0)
    heard = watching(patience_seconds=60)
    heard.received(message(1), 100.0)
    heard.pause_after(AWAY, 159.0, 0.0)
    with pytest.raises(UnavailableError):
        heard.pause_after(AWAY, 160.0, 0.0)


@pytest.mark.parametrize(
    "failure",
    [
        NotFoundError("no such training", status=grpc.StatusCode.NOT_FOUND, details=Details(reason="TRAINING_NOT_FOUND")),
        InternalError("a fault of ours", status=grpc.StatusCode.INTERNAL, details=Details(reason="INTERNAL")),
        DoctrainError("not a doctrain service", status=grpc.StatusCode.UNIMPLEMENTED),
    ],
)
def test_what_another_stream_cannot_cure_is_raised(failure: DoctrainError) -> None:
    with pytest.raises(type(failure)):
        watching().pause_after(failure, 0.0, 0.0)


@pytest.mark.parametrize("status", [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED])
def test_a_stream_broken_on_the_way_is_opened_again(status: grpc.StatusCode) -> None:
    assert watching().pause_after(DoctrainError("RST_STREAM", status=status), 0.0, 0.0) == 0.0
