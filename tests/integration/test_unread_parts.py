"""A part that its reader dies of costs its document no more than itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from email.message import EmailMessage
from typing import Any

import pytest

from doctrain_worker.pipeline.plugins import Stages
from doctrain_worker.pipeline.processor import Done, ErrorClass, Failure
from doctrain_worker.shards.reports import passed
from testkit import pictures
from testkit.limits import LIMITS
from testkit.pipelines import TESTS, Bench, replaced

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("unread parts"), pytest.mark.timeout(120)]


@pytest.fixture(autouse=True)
def _stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", TESTS)


def mail(names: Sequence[str], body: str = "The body of the mail.", **pictured: bytes) -> bytes:
    message = EmailMessage()
    message["Subject"] = "Parts"
    message.set_content(body)
    for name in names:
        message.add_attachment(f"What {name} says.", filename=name)
    for name, content in pictured.items():
        message.add_attachment(content, maintype="image", subtype="png", filename=f"{name}.png")
    return message.as_bytes()


def facts(done: Done) -> dict[str, dict[str, Any]]:
    return {stage.name: stage.attributes for stage in done.stages}


@pytest.mark.parametrize(("name", "code"), [("crash.txt", "CRASHED"), ("hang.txt", "TIME_LIMIT"), ("eat.txt", "MEMORY_LIMIT")])
async def test_the_rest_of_a_mail_is_indexed(bench: Bench, name: str, code: str) -> None:
    limits = replace(LIMITS, call_seconds=8) if name == "hang.txt" else LIMITS
    scan = pictures.saved(pictures.page(["A scanned page"], size=(1000, 400)), "PNG")
    async with replaced(bench, limits, stages=Stages(read="testkit.stages:explode")) as own:
        done = await own.train("parts.eml", mail(["before.txt", name, "after.txt"], scan=scan))
    assert isinstance(done, Done), done
    assert facts(done)["extract"]["unread"] == f"{name}: {code}"
    assert {stage.name: stage.unread for stage in passed(done.stages, 0.0) if stage.unread} == {"extract": f"{name}: {code}"}
    assert facts(done)["ocr"] == {"pages": 1}
    rows = await bench.rows("parts.eml")
    assert [row["part"] for row in rows] == ["", "before.txt", "after.txt", "scan.png"]
    assert [row["text"] for row in rows][1:3] == ["What before.txt says.", "What after.txt says."]


async def test_too_many_of_them_are_their_documents_fault(bench: Bench) -> None:
    async with replaced(bench, stages=Stages(read="testkit.stages:explode")) as own:
        three = await own.train("three.eml", mail([f"crash-{number}.txt" for number in range(3)]))
        four = await own.train("four.eml", mail([f"crash-{number}.txt" for number in range(4)]))
    assert isinstance(three, Done)
    assert facts(three)["extract"]["unread_parts"] == 3
    assert isinstance(four, Failure)
    assert (four.error_class, four.code) == (ErrorClass.CRASH, "CRASHED")


async def test_a_part_that_meets_the_time_limit_is_not_read_again(bench: Bench) -> None:
    async with replaced(bench, replace(LIMITS, call_seconds=4), stages=Stages(read="testkit.stages:explode")) as own:
        done = await own.train("once.eml", mail(["before.txt", "hang.txt"]))
    assert isinstance(done, Done), done
    assert [stage.name for stage in done.stages].count("extract") == 2


async def test_a_document_that_meets_the_time_limit_twice_fails_for_good(bench: Bench) -> None:
    async with replaced(bench, replace(LIMITS, call_seconds=4), stages=Stages(read="testkit.stages:explode")) as own:
        failed = await own.train("twice.eml", mail(["hang-1.txt", "hang-2.txt", "hang-3.txt"]))
    assert isinstance(failed, Failure)
    assert (failed.error_class, failed.code, failed.final) == (ErrorClass.RESOURCE, "TIME_LIMIT", True)
    assert [stage.name for stage in failed.stages].count("extract") == 2
