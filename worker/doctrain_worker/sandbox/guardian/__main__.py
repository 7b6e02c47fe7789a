"""The entry of a guardian: ``python -P -m doctrain_worker.sandbox.guardian``."""

from __future__ import annotations

import socket
import sys

from doctrain_worker.sandbox.guardian.process import GuardianProcess
from doctrain_worker.sandbox.shared.memory import FenceMemory


def main(argv: list[str]) -> int:
    """``--attached SOCKET,MEMORY`` below a running main process, else ``COMMAND…`` to be started and kept running."""
    if argv[:1] == ["--attached"]:
        link_fd, memory_fd = map(int, argv[1].split(","))
        link = socket.socket(fileno=link_fd)
        link.setblocking(False)
        return GuardianProcess(FenceMemory(memory_fd), link, None).run()
    if not argv:
        print("usage: python -m doctrain_worker.sandbox.guardian COMMAND [ARGUMENT…]", file=sys.stderr)  # noqa: T201
        return 2
    return GuardianProcess(FenceMemory.create(), None, argv).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
