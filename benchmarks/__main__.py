"""``python -m benchmarks``: all measurements, one after the other."""

from __future__ import annotations

import asyncio
import sys

from benchmarks import throughput

asyncio.run(throughput.main(sys.argv[1:]))
