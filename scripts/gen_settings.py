"""Writes docs/reference/settings.md from the metadata of doctrain_mesh.settings. With --check only compares."""

import dataclasses
import sys
from pathlib import Path

from doctrain_mesh.settings import PREFIX, Settings

PAGE = Path(__file__).parent.parent / "docs/reference/settings.md"
HEAD = """\
# Settings

Every process reads these variables once, at its start, and refuses to start when one is unknown or out of range. Units stand
in the names. Truth values are `true` or `false`. How a stage is replaced: [replace-a-stage.md](../howto/replace-a-stage.md). Made
from `doctrain_mesh/settings.py` by `make docs`.

| variable | default | allowed | what |
|---|---|---|---|
"""


def bounds(field: dataclasses.Field[object]) -> str:
    """What a field may be, in words; empty when any value of its type will do."""
    if field.metadata["choices"]:
        return ", ".join(f"`{choice}`" for choice in field.metadata["choices"])
    low, high = field.metadata["low"], field.metadata["high"]
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}" if high is not None else ""


def row(field: dataclasses.Field[object]) -> str:
    """One line of the table."""
    default = "empty" if field.default == "" else f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"
    secret = " **Secret.**" if field.metadata["secret"] else ""
    return f"| `{PREFIX}{field.name.upper()}` | {default} | {bounds(field)} | {field.metadata['doc']}{secret} |\n"


def main() -> None:
    text = HEAD + "".join(row(field) for field in dataclasses.fields(Settings))
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text() != text:
            sys.exit("docs/reference/settings.md differs from doctrain_mesh/settings.py. Run: make docs")
        return
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
