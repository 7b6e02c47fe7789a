"""What must hold for the repository as a whole: nothing of one machine in it, small modules, dependencies declared and explained."""

import ast
import json
import re
import runpy
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECTS = [ROOT / "pyproject.toml", ROOT / "clients/python/pyproject.toml"]
PRODUCT = {"doctrain", "doctrain_mesh", "doctrain_server", "doctrain_coordinator", "doctrain_worker"}
OWN = PRODUCT | {"testkit", "chaos", "simulation", "hostile", "benchmarks", "scripts"}
LONGEST_MODULE = 400
CLASS = re.compile(r"^class ([A-Z]\w*)", re.MULTILINE)

# Written in pieces, so that this file does not hold what it looks for.
INDEX_HOSTS = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "registry.npm" + "js",
    "deb.deb" + "ian." + "org",
    "artifact" + "ory",
    "/simple" + "/",
]
MACHINE_PATHS = [r"(?<![\w.])/(?:work|farm|root|home/\w+)/", r"/opt/" + r"(?:wheels|pypi)"]
# In the image and in a container these are the paths meant.
MACHINE_PATHS_ALLOWED = {"Dockerfile", "docker-compose.yml"}


@cache
def tracked() -> list[Path]:
    """Files that git knows, as far as they are text and in the work tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def text(path: Path) -> str:
    data = path.read_bytes()
    return "" if b"\0" in data else data.decode("utf-8", errors="replace")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(requirement: str) -> str:
    return normal(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])


@cache
def declared() -> set[str]:
    """Names of all direct dependencies: of both distributions, their extras and development."""
    names: set[str] = set()
    for project in PROJECTS:
        table = tomllib.loads(project.read_text())
        lists = [table["project"]["dependencies"], *table["project"].get("optional-dependencies", {}).values()]
        lists += table.get("dependency-groups", {}).values()
        names |= {requirement_name(requirement) for requirements in lists for requirement in requirements}
    return names


@pytest.mark.parametrize("pattern", [*map(re.escape, INDEX_HOSTS), *MACHINE_PATHS])
def test_no_file_names_a_package_index_or_a_path_of_one_machine(pattern: str) -> None:
    machine = pattern in MACHINE_PATHS
    found = [
        f"{relative(path)}: {match.group()}"
        for path in tracked()
        if not (machine and (relative(path) in MACHINE_PATHS_ALLOWED or path.suffix in {".eml", ".html", ".txt"}))
        for match in re.finditer(pattern, text(path))
    ]
    assert not found


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_holds_names_versions_and_hashes_only(lock: Path) -> None:
    line = re.compile(r"[a-z0-9][a-z0-9.-]*==[\w.+!-]+(?: ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}(?: \\)?")
    odd = [number for number, content in enumerate(lock.read_text().splitlines(), start=1) if not line.fullmatch(content)]
    assert not odd


def test_the_image_ships_what_the_tests_ran_on() -> None:
    dev, *others = ((ROOT / f"requirements/{name}.txt").read_text() for name in ("dev", "server", "build"))
    pins = [set(re.findall(r"^(\S+==\S+)", lock, re.MULTILINE)) for lock in (dev, *others)]
    assert all(shipped <= pins[0] for shipped in pins[1:])


def test_every_direct_dependency_is_locked() -> None:
    locked = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE))
    assert declared() - {"doctrain"} <= locked, "run: make lock"


@pytest.mark.timeout(180)
def test_the_list_of_parts_has_each_package_of_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("requirements", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    count = runpy.run_path(str(ROOT / "scripts/audit.py"))["write_parts"]()
    parts = json.loads((tmp_path / "dist/doctrain-server.cdx.json").read_text())["components"]
    locked = set(re.findall(r"^([a-z0-9.-]+)==([^\s;]+)", (ROOT / "requirements/server.txt").read_text(), re.MULTILINE))
    assert {(normal(part["name"]), part["version"]) for part in parts} == locked
    assert count == len(locked)


def test_every_direct_dependency_is_explained_and_none_else() -> None:
    explained = set(re.findall(r"^\| ([a-z0-9.-]+) \|", (ROOT / "docs/dependencies.md").read_text(), re.MULTILINE)) - {"package"}
    assert explained == declared()


@pytest.mark.timeout(180)
def test_every_import_is_declared() -> None:
    homes = packages_distributions()
    undeclared = set[str]()
    for path in tracked():
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for top in {name.partition(".")[0] for name in names} - OWN - set(sys.stdlib_module_names):
                distributions = {normal(home) for home in homes.get(top, [])}
                if not distributions & declared():
                    undeclared.add(f"{relative(path)} imports {top} ({', '.join(distributions) or 'not installed'})")
    assert not undeclared


def test_a_class_of_the_coordinator_has_a_name_of_its_own() -> None:
    named = [
        (name, relative(path)) for path in tracked() for name in CLASS.findall(text(path)) if relative(path).startswith("coordinator/")
    ]
    counted = Counter(name for name, _ in named)
    assert not [(name, path) for name, path in named if counted[name] > 1]


def test_no_module_is_longer_than_a_person_can_hold() -> None:
    modules = [path for path in tracked() if path.suffix == ".py" and "_pb2" not in path.name]
    long = {relative(path): lines for path in modules if (lines := len(path.read_text().splitlines())) > LONGEST_MODULE}
    assert not long


def test_both_distributions_have_one_version() -> None:
    server, client = (tomllib.loads(project.read_text())["project"] for project in PROJECTS)
    assert server["version"] == client["version"]
    assert f"doctrain[cli]=={client['version']}" in server["dependencies"]


def test_headings_that_docstrings_name_are_in_the_protocol() -> None:
    headings = set(re.findall(r"^## (.+)$", text(ROOT / "docs/protocol.md"), re.MULTILINE))
    named = {
        (relative(path), heading)
        for path in tracked()
        if path.suffix == ".py"
        for names in re.findall(r'docs/protocol\.md((?:, "[^"]+")+)', text(path))
        for heading in re.findall(r'"([^"]+)"', names)
    }
    assert named
    assert [(path, heading) for path, heading in sorted(named) if heading not in headings] == []


def test_every_attribute_of_a_span_is_explained() -> None:
    explained = text(ROOT / "docs/telemetry.md")
    given = {
        name
        for folder in ("coordinator", "mesh", "server", "worker")
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(r'(?:set_attribute\(|[{,]\s*)"((?:doctrain\.(?!v1\.)|rpc\.)[\w.]+)"[:,]', text(path))
    }
    assert {"doctrain.shard", "rpc.method", "doctrain.chunks"} <= given
    assert {name for name in given if f"`{name}`" not in explained} == set()


SCHEMA = {"schema.sql", "views.sql", "policies.sql"}
STATEMENTS = [path for path in tracked() if path.suffix == ".sql" and path.name not in SCHEMA]


@pytest.mark.parametrize("path", STATEMENTS, ids=relative)
def test_sql_stands_beside_the_one_module_that_has_it_and_all_of_it_is_used(path: Path) -> None:
    code = text(path.with_suffix(".py"))
    assert re.search(r"^SQL = statements.of\(__name__[,)]", code, re.MULTILINE)
    named = re.findall(r"^-- name: (\w+)$", text(path), re.MULTILINE)
    assert named
    assert set(re.findall(r"\bSQL\[\"(\w+)\"\]", code)) <= set(named)
    assert [name for name in named if f'"{name}"' not in code] == []


@pytest.mark.parametrize("path", STATEMENTS, ids=relative)
def test_statements_name_the_numbers_of_states(path: Path) -> None:
    bare = r"\b(?:state|error_class)\s*(?:=|<>|<|>|<=|>=|in)\s*\(?\s*\d|\bthen\s+[1-9]\b|_lock\(\d"
    assert [line for line in text(path).splitlines() if re.search(bare, line)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "coordinator/doctrain_coordinator/rpc").glob("*.py")), ids=relative)
def test_rows_stay_in_the_modules_that_run_statements(path: Path) -> None:
    assert not re.search(r"\bRecord\b", text(path))
