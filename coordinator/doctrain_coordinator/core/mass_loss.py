"""When the loss of a session is nobody's fault: it went with a large part of the fleet (docs/protocol.md, "Charge")."""

from __future__ import annotations

from collections.abc import Sequence

WINDOW_SECONDS = 2.0
LEAST = 3
SHARE = 1 / 3


def is_mass_loss(apart: Sequence[float], live: int) -> bool:
    """Whether a loss is one of at least ``LEAST``, and of more than ``SHARE`` of the fleet, that fell into one window.

    ``apart`` are the seconds from it to every loss within a window's length, itself (0) included; ``live`` sessions live on.
    The window is exact: a document that kills one worker after another does so more slowly than that, because each loss
    is followed by a second of grace, and must not pass for a power cut.
    """
    starts = [at for at in apart if -WINDOW_SECONDS <= at <= 0]
    lost = max((sum(start <= at <= start + WINDOW_SECONDS for at in apart) for start in starts), default=0)
    return lost >= LEAST and lost > (len(apart) + live) * SHARE
