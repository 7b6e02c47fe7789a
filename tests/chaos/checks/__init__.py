"""The rules, each a function from evidence to sentences about what broke it; ``violations`` asks them all."""

from __future__ import annotations

from chaos.checks import attempts, documents, parts, rest, slots, trainings
from chaos.evidence import Evidence

RULES = (
    trainings.none_is_lost,
    trainings.cancels_stand,
    trainings.repeats_find_the_same,
    trainings.watches_never_fall_and_end_with_the_truth,
    trainings.calls_fail_only_in_ways_to_be_repeated,
    documents.each_ended_as_its_kind_must,
    documents.the_index_holds_each_once,
    attempts.they_increase,
    attempts.who_holds_nothing_records_nothing,
    attempts.one_holder_an_attempt,
    attempts.nothing_runs_again_once_recorded,
    attempts.no_document_runs_twice_at_once,
    attempts.only_what_was_in_flight_runs_again,
    slots.never_counted_over_the_plan,
    slots.never_running_over_the_plan,
    slots.never_running_uncounted,
    rest.acks_follow_commits,
    rest.nothing_is_left,
    parts.they_end_when_told_to,
    parts.they_stay_small,
    parts.nothing_unforeseen_in_their_logs,
    parts.frozen_workers_are_taken_back,
    parts.work_goes_on_after_each_fault,
)
MOST = 12
"""Sentences kept of one rule."""


def violations(evidence: Evidence) -> dict[str, list[str]]:
    """Broken rules by name, with what broke them."""
    found = {}
    for rule in RULES:
        sentences = list(rule(evidence))
        if sentences:
            more = [f"… and {len(sentences) - MOST} more"] if len(sentences) > MOST else []
            found[f"{rule.__module__.rpartition('.')[2]}.{rule.__name__}"] = sentences[:MOST] + more
    return found
