"""The kinds of faults, each a small class; ``ALL`` lists them."""

from __future__ import annotations

from chaos.faults import brokers, clocks, collectors, coordinators, databases, messages, networks, registries, workers, zombies
from chaos.faults.fault import Fault

ALL: tuple[type[Fault], ...] = (
    *workers.FAULTS,
    *coordinators.FAULTS,
    *brokers.FAULTS,
    *messages.FAULTS,
    *zombies.FAULTS,
    *registries.FAULTS,
    *databases.FAULTS,
    *networks.FAULTS,
    *collectors.FAULTS,
    *clocks.FAULTS,
)
