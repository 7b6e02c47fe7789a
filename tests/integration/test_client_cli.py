"""The command line as a person and a script use it, against a real server."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result

from doctrain.cli.app import doctrain
from doctrain.v1 import training_pb2 as pb
from testkit.scripted_service import Failure, ScriptedService, serving


class Shell:
    """Runs commands against one service."""

    def __init__(self, address: str) -> None:
        self.environment = {"DOCTRAIN_ADDRESS": address, "DOCTRAIN_API_KEY": "secret"}

    async def __call__(self, *arguments: str) -> Result:
        runner = CliRunner(env=self.environment)
        return await asyncio.to_thread(runner.invoke, doctrain, arguments, catch_exceptions=False)

    async def start(self, *arguments: str, stdout: int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
        """Starts it as a process of its own."""
        environment = {**os.environ, **self.environment, "TERM": "xterm", "COLUMNS": "120"}
        command = (sys.executable, "-m", "doctrain", *arguments)
        return await asyncio.create_subprocess_exec(*command, env=environment, stdout=stdout, stderr=asyncio.subprocess.PIPE)


@pytest.fixture
async def service() -> ScriptedService:
    return ScriptedService()


@pytest.fixture
async def shell(service: ScriptedService) -> AsyncIterator[Shell]:
    async with serving(service) as now:
        yield Shell(now.address)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.txt", "b.txt", "deep/c.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "empty.txt").write_text("")
    return tmp_path


def lines(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def ends_as(state: pb.TrainingState.ValueType, *, failed: int = 0) -> Any:
    async def watch(request: pb.WatchStatusRequest, context: object) -> AsyncIterator[pb.WatchStatusResponse]:
        for version in range(4):
            ended = version == 3
            training = pb.Training(
                training_task_id=request.training_task_id,
                state=state if ended else pb.TRAINING_STATE_PROCESSING,
                total=3,
                completed=version - failed if ended else 0,
                failed=failed if ended else 0,
                sealed=True,
                version=version + 1,
            )
            document = pb.Document(document_id=f"d{version}", state=pb.DOCUMENT_STATE_COMPLETED)
            documents = [document] if request.include_documents else []
            yield pb.WatchStatusResponse(training=training, resume_position=str(version), documents=documents)

    return watch


async def test_train_a_folder_and_watch_it_to_its_end(shell: Shell, service: ScriptedService, folder: Path) -> None:
    service.watch = ends_as(pb.TRAINING_STATE_COMPLETED)
    result = await shell("train", str(folder), "--id", "mine", "--watch")
    assert result.exit_code == 0, result.output
    assert "Training mine: 3 documents, at most 5 at once (plan free)." in result.stdout
    assert "processing: 0 of 3 documents ended" in result.stdout
    assert "Completed: 3 documents trained, 0 failed." in result.stdout
    assert "Left out because they are empty (1): empty.txt" in result.stderr
    [request] = service.asked(pb.StartTrainingRequest)
    assert [document.document_id for document in request.documents] == ["a.txt", "b.txt", "deep/c.md"]


async def test_train_without_watching_says_how_to_follow(shell: Shell, service: ScriptedService, folder: Path) -> None:
    result = await shell("train", str(folder), "--pattern", "*.txt", "--id", "mine")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "Follow it with: doctrain watch mine")
    one_file = await shell("train", str(folder / "deep/c.md"), "--json")
    assert service.asked(pb.StartTrainingRequest)[-1].documents[0].document_id == "c.md"
    assert service.trainings[lines(one_file)[0]["training"]["training_task_id"]].total == 1
    await shell("train", "--manifest", "s3://bucket/list.jsonl")
    assert service.asked(pb.StartTrainingRequest)[-1].manifest_uri == "s3://bucket/list.jsonl"


async def test_a_dry_run_starts_nothing(shell: Shell, service: ScriptedService, folder: Path) -> None:
    result = await shell("train", str(folder), "--dry-run", "--watch")
    assert (result.exit_code, result.stdout) == (0, "It can be trained: 3 documents, at most 5 at once (plan free).\n")
    assert not service.trainings


async def test_a_training_that_did_not_complete_ends_the_watch_with_1_and_names_what_failed(shell: Shell, service: ScriptedService) -> None:
    service.trainings["t"] = pb.Training(training_task_id="t")
    service.watch = ends_as(pb.TRAINING_STATE_COMPLETED_WITH_FAILURES, failed=1)
    error = pb.DocumentError(code="ENCRYPTED", message="It is encrypted;\x1b[2J remove the password.")
    service.documents = [pb.Document(document_id="secret.pdf", state=pb.DOCUMENT_STATE_FAILED, error=error)]
    result = await shell("watch", "t")
    assert result.exit_code == 1
    assert "Completed with failures: 2 documents trained, 1 failed." in result.stdout
    assert "  failed      secret.pdf  ENCRYPTED: It is encrypted;\N{REPLACEMENT CHARACTER}[2J remove the password." in result.stdout
    for state in (pb.TRAINING_STATE_FAILED, pb.TRAINING_STATE_CANCELLED):
        service.watch = ends_as(state)
        assert (await shell("watch", "t", "--json")).exit_code == 1


async def test_json_of_a_watch_has_every_update_with_the_names_of_the_protos(shell: Shell, service: ScriptedService, folder: Path) -> None:
    service.watch = ends_as(pb.TRAINING_STATE_COMPLETED)
    started, *updates = lines(await shell("train", str(folder), "--id", "mine", "--watch", "--json"))
    assert started["training"]["training_task_id"] == "mine"
    assert started["summary"]["max_concurrency"] == 5
    assert [update["training"]["completed"] for update in updates] == [0, 0, 0, 3]
    assert updates[-1]["training"]["state"] == "TRAINING_STATE_COMPLETED"
    with_documents = lines(await shell("watch", "mine", "--documents", "--json"))
    assert [update["documents"][0]["document_id"] for update in with_documents] == ["d0", "d1", "d2", "d3"]
    assert "completed   d3" in (await shell("watch", "mine", "--documents")).stdout


async def test_reading_trainings_and_documents(shell: Shell, service: ScriptedService) -> None:
    for name in ("t1", "t2", "t3"):
        service.trainings[name] = pb.Training(training_task_id=name, state=pb.TRAINING_STATE_QUEUED, total=9, sealed=True)
    service.documents = [pb.Document(document_id=f"d{n}", state=pb.DOCUMENT_STATE_QUEUED) for n in range(5)]
    assert (await shell("status", "t1")).stdout == "t1  queued: 0 of 9 documents ended\n"
    assert lines(await shell("status", "t1", "--json"))[0]["state"] == "TRAINING_STATE_QUEUED"
    assert [row.split()[0] for row in (await shell("list")).stdout.splitlines()] == ["ID", "t1", "t2", "t3"]
    assert [training["training_task_id"] for training in lines(await shell("list", "--limit", "2", "--json"))] == ["t1", "t2"]
    assert (await shell("list", "--state", "completed")).stdout == "No trainings.\n"
    assert (await shell("documents", "t1")).stdout.splitlines()[4] == "queued      d4"
    assert len(lines(await shell("documents", "t1", "--state", "queued", "--state", "failed", "--json"))) == 5
    assert service.asked(pb.ListDocumentsRequest)[-1].states == [pb.DOCUMENT_STATE_QUEUED, pb.DOCUMENT_STATE_FAILED]
    assert (await shell("cancel", "t1")).stdout.startswith("t1  cancelled")
    assert lines(await shell("cancel", "t2", "--json"))[0]["state"] == "TRAINING_STATE_CANCELLED"


async def test_holding_and_retrying_trainings(shell: Shell, service: ScriptedService) -> None:
    service.trainings["t1"] = pb.Training(training_task_id="t1", state=pb.TRAINING_STATE_PROCESSING, total=9, sealed=True)
    assert (await shell("pause", "t1")).stdout == "t1  processing, paused: 0 of 9 documents ended\n"
    assert lines(await shell("resume", "t1", "--json"))[0]["paused"] is False
    assert (await shell("explain", "t1")).stdout.splitlines() == [
        "t1  processing: 0 of 9 documents ended",
        "The plan allows 5 documents at once: 0 are in use by this training, 5 by others.",
        "- The plan's 5 documents at once are all in use.",
        "  What to do: Wait.",
        "  other uses 5",
    ]
    assert lines(await shell("explain", "t1", "--json"))[0]["holds"][0]["rule"] == "HOLD_RULE_PLAN_LIMIT"
    retried = lines(await shell("retry", "t1", "--class", "crash", "--document", "a", "--id", "t2", "--json"))[0]
    assert (retried["training_task_id"], retried["retry_of"]) == ("t2", "t1")
    (asked,) = service.asked(pb.RetryFailedDocumentsRequest)
    assert (list(asked.error_classes), list(asked.document_ids)) == ([pb.ERROR_CLASS_CRASH], ["a"])
    assert (await shell("retry", "t1")).stdout.endswith("0 of 2 read so far documents ended\n")


async def test_upload_prints_the_uri_of_each_file(shell: Shell, service: ScriptedService, folder: Path) -> None:
    stored = lines(await shell("upload", str(folder / "a.txt"), str(folder / "b.txt"), "--json"))
    assert [line["path"] for line in stored] == [str(folder / "a.txt"), str(folder / "b.txt")]
    assert {line["uri"] for line in stored} == set(service.blobs)
    assert (await shell("upload", str(folder / "a.txt"))).stdout == f"{stored[0]['uri']}  {folder / 'a.txt'}\n"


async def test_operators_commands(shell: Shell, service: ScriptedService) -> None:
    assert "worker-1  2/6    9      50%  1024 MiB" in (await shell("workers")).stdout
    assert lines(await shell("workers", "--json"))[0]["worker_id"] == "worker-1"
    queue = (await shell("queue")).stdout
    assert "40 documents are open." in queue
    assert "Broker: did not answer." in queue
    assert lines(await shell("queue", "--json"))[0]["tenants"][0]["slots"] == 5
    assert "rejected  -      It is no grant." in (await shell("dead-letters")).stdout
    assert lines(await shell("dead-letters", "--limit", "1", "--json"))[0]["cause"] == "rejected"
    assert "acme    free  1" in (await shell("tenants", "create", "acme", "--plan", "free")).stdout
    assert lines(await shell("tenants", "update", "acme", "--weight", "2.5", "--json"))[0]["plan"] == "free"
    assert (service.tenants["acme"].plan, service.tenants["acme"].weight) == ("free", 2.5)
    assert "There is no tenant nobody." in (await shell("tenants", "update", "nobody", "--plan", "paid")).stderr
    assert len(lines(await shell("tenants", "list", "--json"))) == 1
    assert (await shell("plans", "list")).stdout == "No plans.\n"
    assert lines(await shell("plans", "put", "paid", "--slots", "30", "--json")) == [{"name": "paid", "slots": 30}]
    made = await shell("keys", "create", "--tenant", "acme", "--label", "laptop")
    assert made.stdout == "a-new-key\n", "the key alone, so that a script can take it"
    assert "doctrain keys revoke 12" in made.stderr
    assert (await shell("keys", "revoke", "12")).stdout == "Key 12 is out of force.\n"
    assert service.revoked == [12]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure(grpc.StatusCode.UNAUTHENTICATED, "This key is not known.", "UNAUTHENTICATED"), 5),
        (Failure(grpc.StatusCode.PERMISSION_DENIED, "This key is a worker's.", "PERMISSION_DENIED"), 5),
        (Failure(grpc.StatusCode.INVALID_ARGUMENT, "A field is wrong.", "INVALID_REQUEST", {}, {"page_size": "It is negative."}), 4),
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


async def test_ctrl_c_stops_watching_and_says_how_to_go_on(shell: Shell, service: ScriptedService) -> None:
    async def forever(request: pb.WatchStatusRequest, context: object) -> AsyncIterator[pb.WatchStatusResponse]:
        yield pb.WatchStatusResponse(training=pb.Training(training_task_id="t", total=3, version=1), resume_position="1")
        await asyncio.Event().wait()

    service.watch = forever
    process = await shell.start("watch", "t")
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = await process.communicate()
    assert process.returncode == 130
    assert said.decode().strip().splitlines() == [
        "Stopped watching; the training goes on.",
        "Watch it again: doctrain watch t",
        "End it: doctrain cancel t",
    ]
    assert not service.asked(pb.CancelTrainingRequest)


async def test_a_terminal_gets_a_live_bar(shell: Shell, service: ScriptedService, folder: Path) -> None:
    service.watch = ends_as(pb.TRAINING_STATE_COMPLETED)
    terminal, side = pty.openpty()
    try:
        process = await shell.start("train", str(folder), "--watch", stdout=side)
        os.close(side)
        _, said = await process.communicate()
        assert process.returncode == 0, said
        shown = (await asyncio.to_thread(os.read, terminal, 100_000)).decode()
    finally:
        os.close(terminal)
    assert "storing" in shown
    assert "3/3" in shown
    assert "━" in shown
    assert "Completed: 3 documents trained, 0 failed." in shown


async def test_a_reader_that_has_seen_enough_is_no_error(shell: Shell, service: ScriptedService) -> None:
    service.trainings["t"] = pb.Training(training_task_id="t")
    service.page = 1000
    service.documents = [pb.Document(document_id=f"document-{n}") for n in range(3000)]
    process = await shell.start("documents", "t")
    assert process.stdout is not None
    await process.stdout.readline()
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    assert process.stderr is not None
    assert await process.stderr.read() == b""
    await process.wait()
