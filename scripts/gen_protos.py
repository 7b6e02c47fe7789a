"""Generates the Python stubs from protos/. With --check writes nothing and fails if the committed ones are not current.

A proto package is a Python package, so imports need no rewriting. Generated with the oldest grpcio promised (1.74): code
from a newer one refuses to run under it.
"""

import os
import re
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parent.parent
PROTOS = ROOT / "protos"
HOMES = {"doctrain": ROOT / "clients/python", "doctrain_mesh": ROOT / "mesh"}


def generate(out: Path, package: str) -> None:
    """Writes the stubs of one top package below ``out``; raises SystemExit with protoc's code."""
    protos = sorted((PROTOS / package).rglob("*.proto"))
    services = [proto for proto in protos if re.search(r"^service ", proto.read_text(), re.MULTILINE)]
    includes = [f"-I{PROTOS}", f"-I{files('grpc_tools') / '_proto'}"]
    for kinds, sources in (("python", "mypy"), protos), (("grpc_python", "mypy_grpc"), services):
        outputs = [f"--{kind}_out={'quiet:' if kind.startswith('mypy') else ''}{out}" for kind in kinds]
        if sources and (code := protoc.main(["protoc", *includes, *outputs, *map(str, sources)])):
            raise SystemExit(code)


def stubs(folder: Path) -> dict[Path, str]:
    """The generated files below ``folder``, by their path in it."""
    return {path.relative_to(folder): path.read_text() for path in folder.rglob("*_pb2*.py*") if path.suffix in {".py", ".pyi"}}


def write(home: Path, path: Path, text: str | None) -> None:
    """Makes one stub say ``text``; None removes it."""
    if text is None:
        (home / path).unlink()
        return
    (home / path).parent.mkdir(parents=True, exist_ok=True)
    (home / path).with_name("__init__.py").touch()
    (home / path).write_text(text)


def main() -> None:
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where protoc-gen-mypy is
    check, stale = "--check" in sys.argv[1:], list[str]()
    for package, home in HOMES.items():
        with tempfile.TemporaryDirectory() as temporary:
            generate(Path(temporary), package)
            new = stubs(Path(temporary))
        old = {package / path: text for path, text in stubs(home / package).items()}
        for path in sorted(p for p in new.keys() | old.keys() if new.get(p) != old.get(p)):
            stale.append(str((home / path).relative_to(ROOT)))
            if not check:
                write(home, path, new.get(path))
    print("\n".join(f"{'differs' if check else 'written'}: {path}" for path in stale) or "The stubs are current.")
    if check and stale:
        sys.exit("The committed stubs differ from protos/. Run: make protos")


if __name__ == "__main__":
    main()
