"""Prometheus' own program for its rules, configuration and queries."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from testkit.server import unavailable


def promtool(*arguments: str | Path) -> None:
    """Runs it; what it complains of fails the test, a missing one skips it, and fails it where CI=true."""
    program = shutil.which("promtool")
    if program is None:
        unavailable("promtool")
    checked = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
