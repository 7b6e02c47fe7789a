"""Asks for known faults of what is shipped (pip-audit), and writes what it is made of (CycloneDX) into dist/."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

# Run in the folder of the project, as make does.
LOCK = Path("requirements/server.txt")
PARTS = Path("dist/doctrain-server.cdx.json")
UNREACHED = 3


def write_parts() -> int:
    """Writes the list of parts, from the lock alone; answers how many there are."""
    PARTS.parent.mkdir(exist_ok=True)
    quietly = [sys.executable, "-W", "ignore", "-m", "cyclonedx_py"]
    subprocess.run(
        [*quietly, "requirements", str(LOCK), "--pyproject", "pyproject.toml", "--output-reproducible", "-o", str(PARTS)], check=True
    )
    return len(json.loads(PARTS.read_text())["components"])


def advisories() -> list[dict[str, Any]] | None:
    """What is known of each locked package; None when the advisory service knew none of them, as when it is out of reach."""
    options = ["--require-hashes", "--disable-pip", "--progress-spinner", "off", "-f", "json"]
    command = [sys.executable, "-m", "pip_audit", *options, "-r", str(LOCK)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(done.stderr.strip().rpartition("\n")[2], file=sys.stderr)
        return None
    return found if any("skip_reason" not in package for package in found) else None


def main() -> int:
    print(f"{write_parts()} packages are listed in {PARTS}.")
    found = advisories()
    if found is None:
        print("The advisory service could not be asked from here, so nothing is known of their faults. Run this where PyPI is reached.")
        return UNREACHED
    unknown = [package["name"] for package in found if "skip_reason" in package]
    if unknown:
        print(f"Not known to the advisory service: {', '.join(unknown)}.")
    faults = [(package, fault) for package in found for fault in package.get("vulns", ())]
    for package, fault in faults:
        print(f"{package['name']} {package['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'no version yet'}")
    print(f"{len(found) - len(unknown)} packages were asked about; {len(faults)} faults are known.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
