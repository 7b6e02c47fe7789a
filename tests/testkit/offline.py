"""Programs that reach this machine and nothing else: in a network of their own, which has no other end than itself."""

from __future__ import annotations

import subprocess
import sys

_CUT_OFF = """
import fcntl, os, socket, struct, sys
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS: up
print("Networks:", *(name for _, name in socket.if_nameindex()), flush=True)
os.execv(sys.argv[1], sys.argv[1:])
"""


def offline(program: str, *arguments: str) -> list[str]:
    """The command line that runs it so, and prints which networks there are; without ``unshare``, where namespaces are not allowed."""
    command = ["unshare", "--map-root-user", "--net", sys.executable, "-c", _CUT_OFF]
    try:
        works = subprocess.run([*command, sys.executable, "-c", ""], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        works = False
    return [*(command if works else []), program, *arguments]
