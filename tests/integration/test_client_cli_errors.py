"""What a person and a script are told when a command cannot do what was asked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import grpc
import pytest

from doctrain.v1 import training_pb2 as pb
from testkit.scripted_service import Failure, ScriptedService
from testkit.shell import Shell, lines


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure(grpc.StatusCode.UNAUTHENTICATED, "This key is not known.", "UNAUTHENTICATED"), 5),
        (Failure(grpc.StatusCode.PERMISSION_DENIED, "This key is a worker's.", "PERMISSION_DENIED"), 5),
        (Failure(grpc.StatusCode.INVALID_ARGUMENT, "A field is wrong.", "INVALID_REQUEST", {}, {"page_size": "It is negative."}), 2),
        (Failure(grpc.StatusCode.NOT_FOUND, "There is no training t.", "TRAINING_NOT_FOUND"), 4),
        (Failure(grpc.StatusCode.INTERNAL, "A fault of ours; report trace 12ab.", "INTERNAL"), 6),
        (Failure(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"), 3),
    ],
)
async def test_an_error_is_a_sentence_and_a_code(shell: Shell, service: ScriptedService, failure: Failure, code: int) -> None:
    service.failures["GetTraining"] = [failure, failure]
    for_people = await shell("status", "t")
    assert for_people.exit_code == code
    assert for_people.stdout == ""
    assert for_people.stderr.startswith("Error: ")
    for_scripts = await shell("status", "t", "--json")
    said = json.loads(for_scripts.stderr)["error"]
    assert said["reason"] == failure.reason
    assert [violation["field"] for violation in said["violations"]] == list(failure.violations)


async def test_a_wrong_field_is_told_once_and_in_the_words_of_the_command_line(
    shell: Shell, service: ScriptedService, folder: Path
) -> None:
    said = "An id has 1 to 128 characters."
    service.failures["GetTraining"] = [
        Failure(grpc.StatusCode.INVALID_ARGUMENT, said, "INVALID_REQUEST", {}, {"training_task_id": said}),
        Failure(grpc.StatusCode.INVALID_ARGUMENT, "2 fields are wrong.", "INVALID_REQUEST", {}, {"manifest_uri": "A.", "other": "B."}),
        Failure(grpc.StatusCode.FAILED_PRECONDITION, "There is nothing to retry.", "NOTHING_TO_RETRY"),
    ]
    assert (await shell("status", "t")).stderr == f"Error: --id: {said}\n"
    assert (await shell("status", "t")).stderr == "Error: 2 fields are wrong.\n  --manifest: A.\n  other: B.\n"
    assert (await shell("status", "t")).exit_code == 4
    service.failures["GetUsage"] = [
        Failure(grpc.StatusCode.INVALID_ARGUMENT, "Too early.", "INVALID_REQUEST", {}, {"period.first_day": "Too early."})
    ]
    assert (await shell("usage", "--from", "1970-01-01")).stderr == "Error: --from: Too early.\n"
    some = await shell("upload", str(folder / "none.txt"), str(folder / "empty.txt"), str(folder / "a.txt"))
    assert some.stderr.splitlines() == [
        f"Error: {folder}/none.txt: No such file or directory",
        f"Error: {folder}/empty.txt: The document is empty.",
    ]
    assert (some.exit_code, some.stdout.endswith(f"  {folder}/a.txt\n")) == (2, True), "the others are stored"


async def test_what_is_no_file_is_refused_at_once_and_not_waited_for(shell: Shell, service: ScriptedService, folder: Path) -> None:
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    some = await shell("upload", str(pipe), str(folder), str(folder / "a.txt"))
    assert some.stderr.splitlines() == [f"Error: {pipe}: It is no regular file", f"Error: {folder}: Is a directory"]
    assert (some.exit_code, some.stdout.endswith(f"  {folder}/a.txt\n")) == (2, True)
    for manifest, said in ((pipe, "is no regular file."), (folder, "is a folder; to train its files, give it without --manifest.")):
        for words in ((), ("--dry-run",)):
            refused = await shell("train", "--manifest", str(manifest), *words)
            assert (refused.exit_code, f"--manifest: {manifest} {said}" in refused.stderr) == (2, True)
    assert not service.trainings


async def test_options_of_the_connection_may_stand_before_the_command(shell: Shell, service: ScriptedService) -> None:
    service.trainings["t"] = pb.Training(training_task_id="t", state=pb.TRAINING_STATE_QUEUED)
    address = shell.environment.pop("DOCTRAIN_ADDRESS")
    assert lines(await shell("--json", "--address", address, "--api-key", "mine", "status", "t"))[0]["training_task_id"] == "t"
    assert "Bearer mine" in service.keys
    assert lines(await shell("--address", address, "keys", "--json", "list")) == []
    shell.environment["DOCTRAIN_ADDRESS"] = "localhost:1"
    assert (await shell("--address", address, "status", "t")).exit_code == 0, "what is typed goes before the environment"
    assert (await shell("--address", "localhost:1", "status", "t", "--address", address)).exit_code == 0, "the nearest goes first"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("status", "t", "--json"), "Which service?"),
        (("--json", "list", "--state", "rubbish"), "is not one of"),
        (("--json", "nonsense"), "No such command 'nonsense'."),
        (("train", "--json", "--address", "localhost:1"), "Give either a folder or --manifest URI."),
        (("status", "t", "--json", "--address", "nowhere"), "write host:port"),
    ],
)
async def test_wrong_usage_is_an_object_for_scripts(arguments: tuple[str, ...], said: str, tmp_path: Path, shell: Shell) -> None:
    del shell.environment["DOCTRAIN_ADDRESS"]
    shell.environment["DOCTRAIN_PROFILE"] = ""
    result = await shell(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    error = json.loads(result.stderr)["error"]
    assert said in error["sentence"]
    assert set(error) == {"sentence", "reason", "status", "violations", "metadata", "retry_after_seconds"}


async def test_a_bad_character_in_the_key_is_a_sentence_and_5(shell: Shell, service: ScriptedService) -> None:
    service.trainings["t"] = pb.Training(training_task_id="t")
    for key in ("dt_\u00fc", '"secret"', "secret,", "'secret", "sec ret"):
        bad = await shell("status", "t", "--api-key", key)
        assert bad.exit_code == 5
        assert bad.stderr.startswith("Error: The API key contains spaces, line breaks, quotes or other characters that no key has")
    assert (await shell("status", "t", "--api-key", " secret\n")).exit_code == 0


async def test_an_empty_key_is_refused_wherever_it_comes_from(shell: Shell, service: ScriptedService, tmp_path: Path) -> None:
    service.trainings["t"] = pb.Training(training_task_id="t")
    address = shell.environment.pop("DOCTRAIN_ADDRESS")
    shell.environment["DOCTRAIN_PROFILE"] = str(tmp_path / "profile.json")
    (tmp_path / "profile.json").write_text(json.dumps({"address": address, "tenant_key": "profiles"}))
    for words in (("status", "t", "--api-key", ""), ("--api-key", "", "status", "t")):
        refused = await shell(*words)
        assert (refused.exit_code, refused.stderr.startswith("Error: --api-key or DOCTRAIN_API_KEY is given and empty:")) == (5, True)
    shell.environment["DOCTRAIN_API_KEY"] = ""
    assert (await shell("status", "t")).exit_code == 5
    for words in (("status", "t", "--address", ""), ("--address", "", "status", "t")):
        assert "Which service?" in (await shell(*words)).stderr
    assert not service.keys
    del shell.environment["DOCTRAIN_API_KEY"]
    shell.environment["DOCTRAIN_ADDRESS"] = ""
    assert (await shell("status", "t")).exit_code == 0, "an empty variable is as none"
    assert service.keys == {"Bearer profiles"}


async def test_nothing_but_the_sentence_is_said_of_a_server_without_tls(shell: Shell) -> None:
    process = await shell.start("status", "t", "--ca", "system")
    _, said = await process.communicate()
    assert process.returncode == 3
    assert said.decode().endswith(": this server speaks no TLS; leave out ca (--ca, DOCTRAIN_CA).\n")
    assert said.decode().count("\n") == 1


async def test_wrong_usage_is_2_and_no_service_is_3(shell: Shell, folder: Path) -> None:
    assert (await shell("train")).exit_code == 2
    assert (await shell("train", str(folder), "--manifest", "s3://b/m")).exit_code == 2
    nothing = await shell("train", str(folder), "--pattern", "*.docx")
    assert nothing.exit_code == 2
    assert "No file in" in nothing.stderr
    assert "write host:port" in (await shell("status", "t", "--address", "nowhere")).stderr
    away = await shell("status", "t", "--address", "localhost:1,localhost:2")
    assert away.exit_code == 3
    assert "No doctrain service could be reached" in away.stderr
    assert "localhost:1: connection refused" in away.stderr
    assert "localhost:2: connection refused" in away.stderr
