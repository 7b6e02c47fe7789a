"""What an ended training is called."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.core.states import ErrorClass, Order, ShardState, ShownState, TrainingState, after_counts
from doctrain_mesh.v1 import tracker_pb2
from doctrain_worker.pipeline import index


def test_the_numbers_are_those_of_the_api() -> None:
    assert {f"TRAINING_STATE_{state.name}": int(state) for state in TrainingState} == {
        name: number for name, number in pb.TrainingState.items() if number
    }
    assert {f"DOCUMENT_STATE_{shown.name}": int(shown) for shown in ShownState} == {
        name: number for name, number in pb.DocumentState.items() if number
    }
    assert {f"ERROR_CLASS_{known.name}": int(known) for known in ErrorClass} == {name: n for name, n in pb.ErrorClass.items() if n}
    assert {f"ORDER_KIND_{order.name}": int(order) for order in Order} == {
        name: number for name, number in tracker_pb2.OrderKind.items() if number
    }


def test_a_worker_knows_the_state_in_which_it_may_write_index_rows() -> None:
    assert int(index.ShardState.RUNNING) == int(ShardState.RUNNING)


def test_the_groups_are_what_their_names_say() -> None:
    assert {state for state in TrainingState if not state.ended} == set(TrainingState.OPEN)
    assert set(ShardState.HELD) < set(ShardState.IN_FLIGHT)


@given(st.sampled_from(TrainingState), st.booleans(), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_a_training_ends_when_it_is_whole_and_all_ended(
    state: TrainingState, sealed: bool, completed: int, failed: int, still_open: int
) -> None:
    after = after_counts(state, sealed=sealed, total=completed + failed + still_open, completed=completed, failed=failed)
    if state.ended or not sealed or still_open:
        assert after is state
    elif failed == 0:
        assert after is TrainingState.COMPLETED
    else:
        assert after is (TrainingState.COMPLETED_WITH_FAILURES if completed else TrainingState.FAILED)
