"""What a lost session costs (docs/protocol.md, "Charge")."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from doctrain_coordinator.core.charging import FREE_FENCES, Blame, Budgets, Judgement, LostShard, charge, judge

BUDGETS = Budgets(before_trial=2, on_trial=3)


@st.composite
def helds(draw: st.DrawFn) -> LostShard:
    opened = sorted(draw(st.sets(st.integers(0, 30), min_size=1, max_size=12)))
    return LostShard(
        width=draw(st.integers(1, 5)),
        losses=draw(st.integers(0, 5)),
        suspects=sorted(draw(st.sets(st.sampled_from(opened)))),
        trial=draw(st.none() | st.integers(0, 30)),
        trial_losses=draw(st.integers(0, 3)),
        running=sorted(draw(st.sets(st.integers(0, 30), max_size=5))),
        open=opened,
    )


@given(helds())
def test_only_a_document_on_trial_is_charged(held: LostShard) -> None:
    verdict = charge(held, BUDGETS)
    if held.trial is not None and held.trial in held.open:
        assert verdict.charged_document == held.trial
        assert verdict.losses == held.losses
        assert verdict.fails == (held.trial_losses + 1 >= BUDGETS.on_trial)
        assert set(verdict.suspects) == set(held.suspects) - ({held.trial} if verdict.fails else set())
    else:
        assert verdict.charged_document is None
        assert not verdict.fails
        assert verdict.losses == held.losses + 1


@given(helds())
def test_suspects_are_open_and_no_innocent_crowd(held: LostShard) -> None:
    verdict = charge(held, BUDGETS)
    assert set(verdict.suspects) <= set(held.open)
    assert len(set(verdict.suspects) - set(held.suspects)) <= len(held.running) + held.width


@given(helds())
def test_what_ran_is_suspected_once_the_losses_are_too_many(held: LostShard) -> None:
    verdict = charge(held, BUDGETS)
    if verdict.charged_document is None and verdict.losses >= BUDGETS.before_trial:
        assert set(held.running) & set(held.open) <= set(verdict.suspects)
        assert verdict.suspects


def test_a_first_loss_suspects_nobody() -> None:
    held = LostShard(width=5, losses=0, suspects=(), trial=None, trial_losses=0, running=(3, 4), open=(3, 4, 5))
    assert charge(held, BUDGETS) == Judgement(1, ())


@given(st.integers(2, 40), st.data())
def test_a_poison_document_is_found_and_fails_alone(count: int, data: st.DataObject) -> None:
    """A worker dies whenever the poison runs; whatever it had reported as running, the poison alone fails in the end."""
    poison = data.draw(st.integers(0, count - 1))
    opened, losses, trial_losses = list(range(count)), 0, 0
    suspects: tuple[int, ...] = ()
    for _ in range(3 * count + 20):
        if suspects:
            # One after another, each alone: those before the poison end well.
            trial = None
            for suspect in suspects:
                if suspect == poison:
                    trial = suspect
                    break
                opened.remove(suspect)
                suspects = tuple(o for o in suspects if o != suspect)
            held = LostShard(1, losses, suspects, trial, trial_losses, (), opened)
            if trial is None:
                continue
        else:
            place = opened.index(poison)
            done = data.draw(st.integers(max(0, place - 4), place))
            del opened[:done]
            stale = data.draw(st.booleans())
            held = LostShard(5, losses, (), None, 0, () if stale else opened[:5], opened)
        verdict = charge(held, BUDGETS)
        assert verdict.charged_document in {None, poison}
        if verdict.fails:
            return
        trial_losses += verdict.charged_document is not None
        losses, suspects = verdict.losses, verdict.suspects
    raise AssertionError("the poison was never found")


@given(helds(), st.integers(0, 2 * FREE_FENCES))
def test_a_few_fences_cost_nothing_and_more_without_a_result_between_cost_as_losses_do(held: LostShard, fences: int) -> None:
    held = replace(held, fences=fences)
    free = Judgement(held.losses, tuple(held.suspects), fences=fences + 1)
    verdict = judge(Blame.FENCED, held, BUDGETS)
    if fences < FREE_FENCES:
        assert verdict == free
    else:
        lost = charge(held, BUDGETS)
        assert verdict == replace(lost, fences=0 if lost.fails else fences + 1)


@given(helds(), st.integers(0, 2 * FREE_FENCES))
def test_what_is_nobodys_fault_costs_nothing_and_forgives_no_fence(held: LostShard, fences: int) -> None:
    held = replace(held, fences=fences)
    assert judge(Blame.NOBODY, held, BUDGETS) == Judgement(held.losses, tuple(held.suspects), fences=fences)
    assert judge(Blame.CHARGED, held, BUDGETS) == replace(charge(held, BUDGETS), fences=0 if charge(held, BUDGETS).fails else fences)


@given(st.integers(1, 12), st.data())
def test_a_document_that_makes_each_of_its_workers_fence_itself_fails_alone(count: int, data: st.DataObject) -> None:
    hog, width = data.draw(st.integers(0, count - 1)), 3
    opened, losses, fences, open_then, trial_losses = list(range(count)), 0, 0, 0, 0
    suspects: tuple[int, ...] = ()
    for _ in range(count + 12 * (FREE_FENCES + 1)):
        trial = None
        if suspects:
            while suspects and suspects[0] != hog:
                opened.remove(suspects[0])
                suspects = suspects[1:]
            trial = suspects[0] if suspects else None
        if trial is None:
            place = opened.index(hog)
            ended = data.draw(st.integers(max(0, place - width + 1), place))
            del opened[:ended]
        running = () if suspects else opened[:width]
        held = LostShard(width, losses, suspects, trial, trial_losses, running, opened, fences if open_then == len(opened) else 0)
        verdict = judge(Blame.FENCED, held, BUDGETS)
        if verdict.fails:
            assert verdict.charged_document == hog
            return
        trial_losses += verdict.charged_document is not None
        losses, suspects, fences, open_then = verdict.losses, verdict.suspects, verdict.fences, len(opened)
    raise AssertionError("it ran for ever")


class Losses(RuleBasedStateMachine):
    """One shard through losses from outside and through its poison: who is charged, and who fails."""

    WIDTH = 3

    @initialize(count=st.integers(1, 10), poison=st.integers(0, 9))
    def begin(self, count: int, poison: int) -> None:
        self.open = list(range(count))
        self.poison = poison
        self.losses = 0
        self.suspects: tuple[int, ...] = ()
        self.trial_losses: dict[int, int] = {}
        self.alone_and_lost: dict[int, int] = {}
        self.failed: list[int] = []

    def lost(self, trial: int | None, running: list[int]) -> None:
        held = LostShard(
            1 if self.suspects else self.WIDTH, self.losses, self.suspects, trial, self.trial_losses.get(trial or 0, 0), running, self.open
        )
        verdict = charge(held, BUDGETS)
        assert verdict.charged_document == trial
        if trial is not None:
            self.alone_and_lost[trial] = self.alone_and_lost.get(trial, 0) + 1
            self.trial_losses[trial] = self.trial_losses.get(trial, 0) + 1
            if verdict.fails:
                self.open.remove(trial)
                self.failed.append(trial)
        self.losses, self.suspects = verdict.losses, verdict.suspects

    def ended(self, ordinal: int) -> None:
        self.open.remove(ordinal)
        self.suspects = tuple(o for o in self.suspects if o != ordinal)

    @rule(from_outside=st.booleans(), told=st.booleans())
    def the_next_documents_run(self, from_outside: bool, told: bool) -> None:
        if not self.open:
            return
        if self.suspects:
            trial = self.suspects[0]
            if from_outside or trial == self.poison:
                self.lost(trial, [])
            else:
                self.ended(trial)
            return
        running = self.open[: self.WIDTH]
        if from_outside or self.poison in running:
            self.lost(None, running if told else [])
        else:
            self.ended(running[0])

    @invariant()
    def who_fails_was_lost_alone_often_enough(self) -> None:
        if hasattr(self, "open"):
            assert all(self.alone_and_lost[ordinal] == BUDGETS.on_trial for ordinal in self.failed)
            assert set(self.suspects) <= set(self.open)
            assert not self.suspects or self.losses >= BUDGETS.before_trial

    def teardown(self) -> None:
        """Left alone, every document but the poison ends well, and the poison fails."""
        if not hasattr(self, "open"):
            return
        failed, expected = len(self.failed), self.poison in self.open
        for _ in range(40):
            self.the_next_documents_run(from_outside=False, told=True)
        assert self.open == []
        assert self.failed[failed:] == [self.poison] * expected


TestLosses = Losses.TestCase
TestLosses.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
