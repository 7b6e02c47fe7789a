"""The client stands alone, and its command line starts quickly because it loads little."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import doctrain

CLIENT = Path(doctrain.__file__).parent
SDK_NEEDS = ("grpc", "google", "typing_extensions")
CLI_NEEDS = ("click", "rich", "markdown_it", "mdurl", "pygments")


def run_with_only(packages: tuple[str, ...], folder: Path, code: str) -> str:
    """Runs ``code`` in a Python that sees the client, the standard library and these packages, nothing else."""
    site = folder / "site"
    site.mkdir()
    (site / "doctrain").symlink_to(CLIENT)
    for name in packages:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        for place in spec.submodule_search_locations or [str(spec.origin)]:
            (site / Path(place).name).symlink_to(place)
    program = f"import sys; sys.path.insert(0, {str(site)!r})\n{code}"  # -S: without the packages of this environment
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_sdk_runs_with_grpc_and_protobuf_alone(tmp_path: Path) -> None:
    modules = sorted(path.stem for path in CLIENT.glob("*.py") if not path.stem.startswith("__"))
    imports = "\n".join(f"import doctrain.{module}" for module in modules)
    use = (
        "import doctrain; [getattr(doctrain, name) for name in doctrain.__all__]\n"
        "with doctrain.Client('localhost:1', api_key='k') as c: print('works')"
    )
    assert run_with_only(SDK_NEEDS, tmp_path, f"{imports}\n{use}") == "works\n"


def test_the_command_line_says_what_it_lacks_and_works_with_it(tmp_path: Path) -> None:
    ask = "sys.argv = ['doctrain', '--help']\nfrom doctrain.cli import main\n"
    without = tmp_path / "without"
    without.mkdir()
    said = run_with_only(SDK_NEEDS, without, f"{ask}try: main()\nexcept SystemExit as end: print(end)")
    assert "pip install click rich" in said
    assert "train" in run_with_only((*SDK_NEEDS, *CLI_NEEDS), tmp_path, f"{ask}main()")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("list", "Error: Which service? Give --address HOST:PORT or set DOCTRAIN_ADDRESS.\n"),
        ("dev", "Error: The command dev comes with the package doctrain-server, which is not installed here.\n"),
        ("doctor", "Error: The command doctor comes with the package doctrain-server, which is not installed here.\n"),
        ("certs", "Error: The command certs comes with the package doctrain-server, which is not installed here.\n"),
        ("nonsense", "Error: No such command 'nonsense'.\n"),
    ],
)
def test_what_the_server_adds_is_not_offered_without_it(tmp_path: Path, command: str, told: str) -> None:
    ask = f"import os; os.chdir({str(tmp_path)!r}); sys.stderr = sys.stdout; sys.argv = ['doctrain', {command!r}]\n"
    said = run_with_only((*SDK_NEEDS, *CLI_NEEDS), tmp_path, f"{ask}from doctrain.cli import main\ntry: main()\nexcept SystemExit: pass")
    assert said.endswith(told)


def test_help_loads_neither_grpc_nor_rich_and_json_no_rich() -> None:
    loaded = "print(json.dumps(list(sys.modules)))"
    program = f"import sys, json, doctrain.cli.app\n{loaded}\nimport doctrain.client\n{loaded}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    for_help, for_json = map(json.loads, done.stdout.splitlines())
    assert not {"grpc", "google.protobuf", "rich", "asyncpg", "doctrain_mesh", "doctrain_server"} & set(for_help)
    assert "grpc" in for_json
    assert not {"rich", "asyncpg", "doctrain_mesh", "doctrain_server"} & set(for_json)


def test_the_version_is_that_of_the_distribution() -> None:
    text = (CLIENT.parent / "pyproject.toml").read_text()
    found = re.search(r'^version = "(.*)"$', text, re.MULTILINE)
    assert found is not None
    assert found[1] == doctrain.__version__


def test_a_plug_in_adds_a_command_and_a_broken_one_says_why(tmp_path: Path) -> None:
    info = tmp_path / "extra-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    names = "extra = extra_commands:extra\nbroken = no_such_module:command\ntrain = no_such_module:command\n"
    (info / "entry_points.txt").write_text(f"[doctrain.commands]\n{names}")
    module = "import click\n@click.command(help='An extra.')\ndef extra(): click.echo('extra was here')\n"
    (tmp_path / "extra_commands.py").write_text(module)

    def doctrain_with_plugin(*arguments: str) -> tuple[int, str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(CLIENT.parent)])}
        done = subprocess.run(
            [sys.executable, "-m", "doctrain", *arguments], env=environment, capture_output=True, text=True, check=False, timeout=30
        )
        return done.returncode, done.stdout + done.stderr

    code, said = doctrain_with_plugin("--help")
    assert code == 0
    assert "An extra." in said
    assert "Not available: ModuleNotFoundError" in said
    assert doctrain_with_plugin("extra") == (0, "extra was here\n")
    code, said = doctrain_with_plugin("broken", "--any", "thing")
    assert code == 1
    assert "The plug-in broken does not load: ModuleNotFoundError: No module named 'no_such_module'" in said
    assert "Train the files" in doctrain_with_plugin("train", "--help")[1]
