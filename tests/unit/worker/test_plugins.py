"""Settings that replace stages, and the sentences when they name nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.settings import load
from doctrain_worker.pipeline import plugins
from doctrain_worker.pipeline.plugins import Stages
from doctrain_worker.pipeline.processor import DONE, DocumentTask, Outcome, ShardContext


class Nothing:
    """A processor for the tests."""

    def process(self, _document: DocumentTask, _shard: ShardContext) -> Outcome:
        return DONE


ready = Nothing()


def test_stages_are_ours_unless_a_setting_names_others() -> None:
    assert plugins.stages(load({"PATH": "/bin", "DOCTRAIN_STAGE_READ": ""})) == Stages()
    assert plugins.stages(load({"DOCTRAIN_STAGE_READ": "testkit.stages:shout"})) == Stages(read="testkit.stages:shout")
    with pytest.raises(ConfigurationError, match=r"DOCTRAIN_STAGE_READ is 'my.module:read', but there is no module 'my.module'"):
        plugins.stages(load({"DOCTRAIN_STAGE_READ": "my.module:read"}))


def test_an_entry_point_gives_a_stage_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loud-1.0.dist-info").mkdir()
    (tmp_path / "loud-1.0.dist-info" / "entry_points.txt").write_text("[doctrain.stages]\nloud = testkit.stages:shout\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert plugins.stages(load({"DOCTRAIN_STAGE_READ": "loud"})) == Stages(read="testkit.stages:shout")
    with pytest.raises(ConfigurationError, match=r"DOCTRAIN_STAGE_READ is 'quiet', but no entry point .* installed are loud"):
        plugins.stages(load({"DOCTRAIN_STAGE_READ": "quiet"}))


@pytest.mark.parametrize("reference", ["Nothing", "ready"])
def test_a_processor_is_an_object_or_a_class(reference: str) -> None:
    made = plugins.processor("DOCTRAIN_PROCESSOR", f"{__name__}:{reference}")
    assert made.process(DocumentTask(0, "a", ""), ShardContext(1, "t", 1, "t", 1, 1, 1, 1)) is DONE


@pytest.mark.parametrize(
    ("value", "word"), [("json:nothing", "cannot be loaded"), ("no_such_module:x", "cannot be loaded"), ("json:dumps", "process")]
)
def test_what_is_no_processor_is_told(value: str, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        plugins.processor("DOCTRAIN_PROCESSOR", value)
