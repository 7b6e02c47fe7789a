"""The command line, run within this process or as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from click.testing import CliRunner, Result

from doctrain.cli.app import doctrain


class Shell:
    """Runs commands against one service."""

    def __init__(self, address: str) -> None:
        self.environment = {"DOCTRAIN_ADDRESS": address, "DOCTRAIN_API_KEY": "secret"}

    async def __call__(self, *arguments: str) -> Result:
        runner = CliRunner(env=self.environment)
        return await asyncio.to_thread(runner.invoke, doctrain, arguments, catch_exceptions=False)

    async def start(self, *arguments: str, stdout: int = asyncio.subprocess.PIPE, columns: int = 120) -> asyncio.subprocess.Process:
        """Starts it as a process of its own, on a terminal of so many ``columns`` where ``stdout`` is one."""
        environment = {**os.environ, **self.environment, "TERM": "xterm", "COLUMNS": str(columns)}
        command = (sys.executable, "-m", "doctrain", *arguments)
        return await asyncio.create_subprocess_exec(*command, env=environment, stdout=stdout, stderr=asyncio.subprocess.PIPE)


def lines(result: Result) -> list[Any]:
    """What was printed for programs."""
    return [json.loads(line) for line in result.stdout.splitlines()]
