"""The entry of a child: ``python -m doctrain_worker.sandbox.child FUNCTION [PREPARE]``, each ``package.module:attribute``.

Calls FUNCTION with the task of each frame and answers what it returned, one at a time, until the channel ends. PREPARE
runs once before the first, for imports and models. Nothing here imports gRPC or a database driver.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import socket
import sys
from pathlib import Path

from doctrain_worker.sandbox.child.confinement import confine
from doctrain_worker.sandbox.child.leftovers import Leftovers
from doctrain_worker.sandbox.child.server import Server, load
from doctrain_worker.sandbox.shared import frames, process_tree
from doctrain_worker.sandbox.shared.launch import CHANNEL_VARIABLE, Confinement

log = logging.getLogger("doctrain_worker.child")


def _offer_to_the_oom_killer() -> None:
    """When the machine runs out of memory, the kernel takes this process first, not the worker or the database."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError as error:
        log.debug("oom_score_adj stays as it is: %s", error)


def main(argv: list[str]) -> None:
    """Serves one function until the channel ends."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")  # the main process adds the rest
    faulthandler.enable()
    _offer_to_the_oom_killer()
    process_tree.become_subreaper()  # what a call starts and leaves is found below this process, wherever it went
    plan = Confinement.told(os.environ)
    confine(plan)
    function = load(argv[0])
    if len(argv) > 1:
        load(argv[1])()
    # A main process that died, or cut the call, closed the channel: there is nobody left to answer, and nothing to tell.
    with socket.socket(fileno=int(os.environ[CHANNEL_VARIABLE])) as channel, contextlib.suppress(ConnectionError):
        channel.sendall(frames.pack(frames.Reply(frames.Ready(), 0, left=False)))
        Server(channel, function, Leftovers(plan.scratch, own_file_system=plan.way != "rlimit")).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
