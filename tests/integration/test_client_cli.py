"""The command line as a person and a script use it, against a real server."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from doctrain.v1 import training_pb2 as pb
from testkit.scripted_service import ScriptedService
from testkit.shell import Shell, lines


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
    assert result.stderr == f"Left out 1 file that cannot be trained:\n  {folder}/empty.txt: It is empty.\n"
    *_, request = service.asked(pb.StartTrainingRequest)
    assert [document.document_id for document in request.documents] == ["a.txt", "b.txt", "deep/c.md"]


async def test_train_without_watching_says_how_to_follow(shell: Shell, service: ScriptedService, folder: Path) -> None:
    result = await shell("train", str(folder), "--pattern", "*.txt", "--id", "mine")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "Follow it with: doctrain watch mine")
    one_file = await shell("train", str(folder / "deep/c.md"), "--json")
    assert service.asked(pb.StartTrainingRequest)[-1].documents[0].document_id == "c.md"
    assert service.trainings[lines(one_file)[0]["training"]["training_task_id"]].total == 1
    await shell("train", "--manifest", "s3://bucket/list.jsonl")
    assert service.asked(pb.StartTrainingRequest)[-1].manifest_uri == "s3://bucket/list.jsonl"


async def test_a_manifest_may_be_a_file_and_is_stored_first(shell: Shell, service: ScriptedService, folder: Path) -> None:
    await shell("train", "--manifest", str(folder / "a.txt"))
    assert service.blobs[service.asked(pb.StartTrainingRequest)[-1].manifest_uri] == b"a.txt"
    none = await shell("train", "--manifest", "nowhere.jsonl")
    assert (none.exit_code, "nowhere.jsonl is no URI, and there is no file of that name." in none.stderr) == (2, True)


async def test_a_training_that_has_ended_before_is_told_as_such(shell: Shell, service: ScriptedService, folder: Path) -> None:
    service.trainings["t"] = pb.Training(training_task_id="t", state=pb.TRAINING_STATE_CANCELLED, total=9, completed=4, sealed=True)
    again = await shell("train", str(folder), "--id", "t")
    assert again.exit_code == 0
    assert again.stdout.splitlines() == [
        "Training t has ended before, so nothing was started. It is cancelled: 4 of 9 documents ended.",
        "To train these documents again, choose another --id; what it did not train: doctrain retry t",
    ]
    service.trainings["t"].state = pb.TRAINING_STATE_PROCESSING
    running = await shell("train", str(folder), "--id", "t")
    assert running.stdout.startswith("Training t was started before: 3 documents, at most 5 at once (plan free).")


async def test_files_that_cannot_be_trained_are_listed_or_end_it(shell: Shell, service: ScriptedService, folder: Path) -> None:
    (folder / os.fsdecode(b"\xff.txt")).write_text("x")
    (folder / "out.txt").symlink_to("/etc/hostname")
    listed = await shell("train", str(folder))
    assert listed.exit_code == 0
    assert listed.stderr.splitlines() == [
        "Left out 3 files that cannot be trained:",
        f"  {folder}/empty.txt: It is empty.",
        f"  {folder}/out.txt: It is a link that leads out of the folder.",
        f"  {folder}/\N{REPLACEMENT CHARACTER}.txt: Its name is not UTF-8.",
    ]
    as_json = await shell("train", str(folder), "--json")
    assert as_json.stderr == ""
    assert [one["reason"] for one in lines(as_json)[0]["skipped"]] == [
        "It is empty.",
        "It is a link that leads out of the folder.",
        "Its name is not UTF-8.",
    ]
    started = len(service.trainings)
    strict = await shell("train", str(folder), "--strict")
    assert strict.exit_code == 2
    assert strict.stderr.startswith("Error: 3 files cannot be trained, so nothing was started:\n")
    assert len(service.trainings) == started
    nothing = await shell("train", str(folder / "empty.txt"))
    assert nothing.exit_code == 2
    assert "can be trained: every file was left out." in nothing.stderr


async def test_a_training_that_did_not_complete_ends_the_watch_with_1_and_names_what_failed(shell: Shell, service: ScriptedService) -> None:
    service.trainings["t"] = pb.Training(training_task_id="t")
    service.watch = ends_as(pb.TRAINING_STATE_COMPLETED_WITH_FAILURES, failed=1)
    error = pb.DocumentError(code="ENCRYPTED", message="It is encrypted;\x1b[2J remove the password.")
    document = pb.Document(document_id="secret.pdf", state=pb.DOCUMENT_STATE_FAILED, error=error)
    document.duration.FromMilliseconds(500)
    service.documents = [document]
    result = await shell("watch", "t")
    assert result.exit_code == 1
    assert "Completed with failures: 2 documents trained, 1 failed." in result.stdout
    assert "  failed      secret.pdf  0.50 s  ENCRYPTED: It is encrypted;\N{REPLACEMENT CHARACTER}[2J remove the password." in result.stdout
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


async def test_the_stages_of_documents(shell: Shell, service: ScriptedService) -> None:
    service.trainings["t1"] = pb.Training(training_task_id="t1", state=pb.TRAINING_STATE_COMPLETED, total=1, sealed=True)
    done = pb.Document(document_id="d5", state=pb.DOCUMENT_STATE_COMPLETED)
    done.stages.add(name="fetch", counts={"bytes": 4_000}).duration.FromMilliseconds(20)
    stage = done.stages.add(name="extract", counts={"pages": 40, "pages_without_text": 1})
    stage.start_time.FromMilliseconds(20)
    stage.duration.FromMilliseconds(1_500)
    service.documents = [done]
    assert (await shell("documents", "t1")).stdout == "completed   d5\n"
    assert (await shell("documents", "t1", "--stages")).stdout.splitlines()[1:] == [
        "  fetch        +0.00 s      0.02 s  4,000 bytes",
        "  extract      +0.02 s      1.50 s  40 pages, 1 page without text",
    ]
    stage.unread = "letter.pdf: ENCRYPTED"
    told = "completed   d5  without what could not be read: letter.pdf: ENCRYPTED"
    assert (await shell("documents", "t1")).stdout == f"{told}\n"
    service.watch = ends_as(pb.TRAINING_STATE_COMPLETED)
    assert (await shell("watch", "t1")).stdout.splitlines()[-1] == f"  {told}", "also who shows no documents is told of it"


async def test_reading_trainings_and_documents(shell: Shell, service: ScriptedService) -> None:
    for name in ("t1", "t2", "t3"):
        service.trainings[name] = pb.Training(training_task_id=name, state=pb.TRAINING_STATE_QUEUED, total=9, sealed=True)
    service.documents = [pb.Document(document_id=f"d{n}", state=pb.DOCUMENT_STATE_QUEUED) for n in range(5)]
    assert (await shell("status", "t1")).stdout == "t1  queued: 0 of 9 documents ended\n"
    assert (await shell("status", "t1", "t2")).stdout.splitlines()[1] == "t2  queued: 0 of 9 documents ended"
    assert lines(await shell("status", "t1", "--json"))[0]["state"] == "TRAINING_STATE_QUEUED"
    assert [row.split()[0] for row in (await shell("list")).stdout.splitlines()] == ["ID", "t1", "t2", "t3"]
    assert [training["training_task_id"] for training in lines(await shell("list", "--limit", "2", "--json"))] == ["t1", "t2"]
    assert (await shell("list", "--state", "completed")).stdout == "No trainings.\n"
    assert (await shell("documents", "t1")).stdout.splitlines()[4] == "queued      d4"
    assert (await shell("documents", "t1", "--limit", "3")).stdout.splitlines()[-1] == "queued      d2"
    assert (await shell("list", "--state", "TRAINING_STATE_QUEUED")).stdout.startswith("ID")
    assert (await shell("documents", "t1", "--state", "DOCUMENT_STATE_FAILED")).stdout == "No documents in such a state.\n"
    assert len(lines(await shell("documents", "t1", "--state", "queued", "--state", "failed", "--json"))) == 5
    assert service.asked(pb.ListDocumentsRequest)[-1].states == [pb.DOCUMENT_STATE_QUEUED, pb.DOCUMENT_STATE_FAILED]
    assert (await shell("cancel", "t1")).stdout == "t1  cancelled: 0 of 9 documents ended\n"
    assert (await shell("cancel", "t1")).stdout == "t1  had ended already; cancelled: 0 of 9 documents ended\n"
    assert lines(await shell("cancel", "t2", "--json"))[0]["state"] == "TRAINING_STATE_CANCELLED"


async def test_holding_and_retrying_trainings(shell: Shell, service: ScriptedService) -> None:
    service.trainings["t1"] = pb.Training(training_task_id="t1", state=pb.TRAINING_STATE_PROCESSING, total=9, sealed=True)
    assert (await shell("pause", "t1")).stdout == "t1  processing, paused: 0 of 9 documents ended\n"
    assert lines(await shell("resume", "t1", "--json"))[0]["paused"] is False
    assert (await shell("explain", "t1")).stdout.splitlines() == [
        "t1  processing: 0 of 9 documents ended",
        "Allowed are 5 documents at once: handed out are 0 of this training, 5 of others.",
        "The plan guarantees 3; more are allowed while the machines bear it, up to 9.",
        "- The plan's 5 documents at once are all in use.",
        "  What to do: Wait.",
        "  other uses 5",
    ]
    assert lines(await shell("explain", "t1", "--json"))[0]["holds"][0]["rule"] == "HOLD_RULE_PLAN_LIMIT"
    retried = lines(await shell("retry", "t1", "--class", "crash", "--document", "a", "--id", "t2", "--json"))[0]
    assert (retried["training_task_id"], retried["retry_of"]) == ("t2", "t1")
    (asked,) = service.asked(pb.RetryFailedDocumentsRequest)
    assert (list(asked.error_classes), list(asked.document_ids)) == ([pb.ERROR_CLASS_CRASH], ["a"])
    assert re.search(
        r"0 of the 2 documents read so far ended\nFollow it with: doctrain watch [0-9a-f-]{36}\n$", (await shell("retry", "t1")).stdout
    )
    assert (await shell("retry", "t1", "--id", "")).exit_code == 2


async def test_a_retry_tells_its_id_and_what_it_is_a_retry_of(shell: Shell, service: ScriptedService) -> None:
    service.trainings["t1"] = pb.Training(training_task_id="t1")
    service.watch = ends_as(pb.TRAINING_STATE_COMPLETED)
    watched = await shell("retry", "t1", "--watch")
    (asked,) = service.asked(pb.RetryFailedDocumentsRequest)
    assert watched.stdout.startswith(f"Training {asked.new_training_task_id}: 2 documents of t1, again.\n")
    assert {line["training"]["training_task_id"] for line in lines(await shell("retry", "t1", "--id", "t2", "--watch", "--json"))} == {"t2"}
    assert (await shell("status", "t2")).stdout.splitlines()[1] == "    a retry of t1"
    assert "retry of" not in (await shell("status", "t1")).stdout


async def test_status_says_since_when_how_fast_and_how_long(shell: Shell, service: ScriptedService) -> None:
    training = pb.Training(training_task_id="t", state=pb.TRAINING_STATE_PROCESSING, total=120, completed=40, sealed=True)
    now = int(time.time())
    training.create_time.FromSeconds(now - 30)
    training.waiting_reason = "All workers are busy."
    service.trainings["t"] = training
    waiting = (await shell("status", "t")).stdout.splitlines()
    assert waiting[0] == "t  processing: 40 of 120 documents ended. All workers are busy."
    assert re.fullmatch(r"    accepted \d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d, waiting for 3\d s", waiting[1])
    training.start_time.FromSeconds(now - 20)
    running = (await shell("status", "t")).stdout
    assert re.search(r"running for 2\d s\n$", running), "nothing is said of what is not known"
    training.documents_per_second = 4.0
    running = (await shell("status", "t")).stdout
    assert running.endswith("\n    4.0 documents/s, about 20 s left\n")
    assert re.search(r"2\d s so far$", (await shell("list")).stdout.rstrip())
    training.end_time.FromSeconds(now - 10)
    training.state = pb.TRAINING_STATE_COMPLETED
    assert (await shell("list")).stdout.rstrip().endswith("  10 s")
    assert (await shell("status", "t")).stdout.endswith(", took 10 s\n    4.0 documents/s\n")
    training.unchanged = 40
    assert (await shell("status", "t")).stdout.endswith(", took 10 s\n"), "nothing was read"
    as_json = lines(await shell("status", "t", "--json"))[0]
    assert list(as_json) == [field.name for field in pb.Training.DESCRIPTOR.fields], "the order of the proto, whatever has a value"


async def test_help_fits_a_terminal_and_does_not_repeat_itself(shell: Shell) -> None:
    every = await shell("--help")
    assert "..." not in every.stdout.partition("Commands:")[2]
    assert "--api-key TEXT" in every.stdout
    one = await shell("status", "--help")
    assert "--api-key TEXT" not in one.stdout
    assert "doctrain --help)" in one.stdout


async def test_upload_prints_the_uri_of_each_file(shell: Shell, service: ScriptedService, folder: Path) -> None:
    stored = lines(await shell("upload", str(folder / "a.txt"), str(folder / "b.txt"), "--json"))
    assert [line["path"] for line in stored] == [str(folder / "a.txt"), str(folder / "b.txt")]
    assert {line["uri"] for line in stored} == set(service.blobs)
    assert (await shell("upload", str(folder / "a.txt"))).stdout == f"{stored[0]['uri']}  {folder / 'a.txt'}\n"


async def watching(shell: Shell, service: ScriptedService) -> asyncio.subprocess.Process:
    """A command that watches a training without end, once it has told its first state."""

    async def forever(request: pb.WatchStatusRequest, context: object) -> AsyncIterator[pb.WatchStatusResponse]:
        yield pb.WatchStatusResponse(training=pb.Training(training_task_id="t", total=3, version=1), resume_position="1")
        await asyncio.Event().wait()

    service.watch = forever
    process = await shell.start("watch", "t")
    assert process.stdout is not None
    await process.stdout.readline()
    return process


async def test_ctrl_c_stops_watching_and_says_how_to_go_on(shell: Shell, service: ScriptedService) -> None:
    process = await watching(shell, service)
    process.send_signal(signal.SIGINT)
    _, said = await process.communicate()
    assert process.returncode == 130
    assert said.decode().strip().splitlines() == [
        "Stopped watching; the training goes on.",
        "Watch it again: doctrain watch t",
        "End it: doctrain cancel t",
    ]
    assert not service.asked(pb.CancelTrainingRequest)


async def test_ctrl_c_twice_at_once_shows_no_traceback(shell: Shell, service: ScriptedService) -> None:
    process = await watching(shell, service)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(0)
    _, said = await process.communicate()
    assert process.returncode == 130
    assert said.decode().strip().splitlines()[0] == "Stopped watching; the training goes on."
    assert "Traceback" not in said.decode()


async def test_ctrl_c_while_the_command_line_starts_is_quiet() -> None:
    program = "import os, signal; from doctrain.cli.interrupts import quietly\nwith quietly(): os.kill(os.getpid(), signal.SIGINT)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert (process.returncode, said) == (130, b"")


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


@pytest.mark.parametrize("columns", [60, 80, 120])
async def test_what_there_is_to_note_leaves_the_bar_its_line(shell: Shell, service: ScriptedService, columns: int) -> None:
    service.trainings["t"] = pb.Training(
        training_task_id="t",
        state=pb.TRAINING_STATE_COMPLETED,
        total=1_200,
        completed=1_000,
        failed=3,
        sealed=True,
        version=1,
        waiting_reason="No connected worker takes new work; of 4, 2 are cordoned, 1 is drained, 1 is not well, and so on to a long end",
    )
    terminal, side = pty.openpty()
    try:
        process = await shell.start("watch", "t", stdout=side, columns=columns)
        os.close(side)
        _, said = await process.communicate()
        assert process.returncode == 0, said
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", (await asyncio.to_thread(os.read, terminal, 100_000)).decode())
    finally:
        os.close(terminal)
    bar, note = re.findall(r"(completed ━.*)\r\n(.*)\r\n", shown)[-1]
    assert re.fullmatch(r"completed [━╸╺]{10,} 1003/1200 \d:\d\d:\d\d", bar.rstrip())
    assert note.startswith("  3 failed, No connected worker takes new")
    assert note.endswith("…")
    assert len(note) == columns


async def test_the_clock_of_the_bar_is_the_trainings(shell: Shell, service: ScriptedService) -> None:
    training = pb.Training(training_task_id="t", state=pb.TRAINING_STATE_COMPLETED, total=3, completed=3, sealed=True, version=1)
    training.create_time.FromSeconds(1_000_000)
    training.start_time.FromSeconds(1_000_100)
    training.end_time.FromSeconds(1_000_100 + 3723)
    service.trainings["t"] = training
    terminal, side = pty.openpty()
    try:
        process = await shell.start("watch", "t", stdout=side)
        os.close(side)
        await process.communicate()
        shown = (await asyncio.to_thread(os.read, terminal, 100_000)).decode()
    finally:
        os.close(terminal)
    assert "1:02:03" in shown


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
    assert await process.wait() == 141, "what the shell tells of a program that SIGPIPE ended"
