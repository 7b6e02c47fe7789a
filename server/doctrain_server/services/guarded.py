"""The worker's guardian, in place of the process that is to become it: nothing that a worker loads is loaded before."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from doctrain_mesh.settings import Settings
from doctrain_server import required


def run_guarded(settings: Settings) -> NoReturn:
    """Replaces this process by the guardian, which starts the main process and starts it again when it dies.

    Neither imports from the folder that it is started in (``-P``), which may hold a file of any name.

    A worker without a name of its own is named here, after the guardian: a main process that is started again is to be known as the
    successor of the one that died.

    Raises ConfigurationError, before anything is started, when it cannot work with these settings.
    """
    required.check_worker(settings)
    main = [sys.executable, "-P", "-m", "doctrain_server", "worker-main"]
    guardian, named = [sys.executable, "-P", "-m", "doctrain_worker.sandbox.guardian", *main], {"DOCTRAIN_NAME": settings.process_name}
    os.execve(sys.executable, guardian, os.environ | named)  # noqa: S606 - our own command line
