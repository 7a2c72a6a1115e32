"""Items that cannot be used: refused or dropped before the first step, skipped while training, always named. None ends a run for good."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.language.prompt import IGNORED_LABEL
from afterview.training.base.errors import DataError, TrainingError
from afterview.training.core.checkpoints import STATE
from afterview.training.core.stage_data import StageData
from afterview.training.core.stages import StageConfig, StageObjective
from afterview.training.core.trainer import LOG
from afterview.training.data.features import feature_path
from afterview.training.data.report import REPORT, ItemProblem, ItemReport
from afterview.training.run import train_stage
from tests.support.processes import in_two
from tests.support.toy_stage import item, toy_stage, train_until, write_toy_set

# Item number in the file -> what its reason says; the rest of the set is sound.
BEFORE = {
    1: "does not have 'nowhere.mp4'", 3: "does not have 'nowhere.png'", 5: "tokens, but max_length is 700",
    7: "bomb.png: cannot be read as a picture", 8: "large.png: ", 2: "features of '1.mp4' cannot be read",
}  # fmt: skip
WHILE = {4: "broken.png: cannot be read as a picture", 6: "not finite"}


def about(image: str | list[str] | None, question: str = "What?", answer: str = "A thing") -> dict[str, Any]:
    names = [] if image is None else [image] if isinstance(image, str) else image
    turns = [{"from": "human", "value": "<image>\n" * len(names) + question}, {"from": "gpt", "value": answer}]
    return {"conversations": turns} | ({} if image is None else {"image": image})


def write_png_header(path: Path, width: int, height: int) -> None:
    """A PNG that claims a size and has no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with one bad item of each kind, and three sound ones."""
    root = write_toy_set(tmp_path_factory.mktemp("toy"))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(root / "good.png")
    Image.fromarray(np.zeros((400, 640, 3), dtype=np.uint8)).save(root / "large.png")
    (root / "broken.png").write_bytes((root / "large.png").read_bytes()[:60] + bytes(200))
    write_png_header(root / "bomb.png", 60_000, 60_000)
    cut = feature_path(root / "features", "1.mp4")
    cut.write_bytes(cut.read_bytes()[:-1000])
    features = feature_path(root / "features", "2.mp4")
    content = bytearray(features.read_bytes())
    content[-2:] = b"\x00\x7e"  # a NaN in float16
    features.write_bytes(bytes(content))
    items = [
        item("0.mp4", "What is it?", "A yes"), item("nowhere.mp4", "What?", "It"), item("1.mp4", "What?", "It"), about("nowhere.png"),
        about("broken.png"), about(None, "why " * 300), item("2.mp4", "What?", "It"), about("bomb.png"), about("large.png", "why " * 120),
        about("good.png"), about(None, "What is two?", "Two"),
    ]  # fmt: skip
    (root / "bad.json").write_text(json.dumps(items))
    return root


def stage(root: Path, **changes: Any) -> StageConfig:
    trainer = {"steps": 8, "clip": 1.0} | changes.pop("trainer", {})
    streams = [{"annotations": str(root / "bad.json"), "features": str(root / "features"), "pictures": str(root)}]
    return toy_stage(root, trainer=trainer, **({"streams": streams, "batch": 2, "max_length": 700} | changes))


def test_a_run_over_one_bad_item_of_each_kind_finishes_and_names_each(
    toy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = train_stage(stage(toy, bad_items="drop"), tmp_path, cpu=True)
    assert trained.steps == 8
    report = json.loads((tmp_path / REPORT).read_text())
    found = {(one["item"], one["happened"]): one for one in report["items"]}
    assert set(found) == {(n, "dropped") for n in BEFORE} | {(n, "skipped") for n in WHILE}
    for (number, _), one in found.items():
        assert (BEFORE | WHILE)[number] in one["why"]
        assert one["file"] == str(toy / "bad.json")
        assert f"item {number}: {one['why']}" in caplog.text
    assert report["counts"] == trained.items == {"dropped": 6, "skipped": 2}
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]  # a step of two bad items has none
    assert len(losses) >= 4
    assert np.isfinite(losses).all()
    assert load_pretrained(trained.model, device="cpu").trained


def test_what_shows_before_the_first_step_is_refused_by_default_with_all_its_items(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"3 items cannot be used: .*item 1: .*nowhere\.mp4.*item 2: .*item 3: .*`bad_items: drop`"
    ):
        train_stage(stage(toy), tmp_path / "out", cpu=True)
    assert not (tmp_path / "out" / STATE).exists()
    items = json.loads((toy / "bad.json").read_text())
    (toy / "long.json").write_text(json.dumps([items[0], items[5], items[8]]))
    streams = [{"annotations": str(toy / "long.json"), "features": str(toy / "features"), "pictures": str(toy)}]
    with pytest.raises(
        DataError, match=r"2 items cannot be used: .*item 1: .*max_length is 700.*item 2: large\.png: \d+ tokens"
    ):
        train_stage(stage(toy, streams=streams), tmp_path / "out", cpu=True)


def test_more_failures_than_allowed_end_the_run_after_a_save_and_it_can_be_continued(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"\d items could not be used, and max_skipped allows 0: .*bad\.json: item \d"
    ):
        train_stage(stage(toy, bad_items="drop", max_skipped=0.0), tmp_path, cpu=True)
    stopped = json.loads((tmp_path / STATE / "progress.json").read_text())
    assert stopped["step"] >= 1
    assert train_stage(stage(toy, bad_items="drop", max_skipped=0.6), tmp_path, cpu=True).steps == 8
    report = json.loads((tmp_path / REPORT).read_text())
    assert report["counts"] == {"dropped": 6, "skipped": 2}  # each once, with those from before the interruption


def test_how_many_may_be_skipped(toy: Path) -> None:
    assert [stage(toy).most_skipped(items) for items in (5, 1000, 5000)] == [10, 10, 50]
    assert [stage(toy, max_skipped=0.1).most_skipped(items) for items in (5, 50)] == [0, 5]
    report = ItemReport()
    one = ItemProblem("a.json", 3, "broken", "skipped")
    assert report.add([one, one]) == [one]
    assert report.add([one]) == []
    assert report.counts == {"skipped": 1}


def test_a_batch_of_bad_items_changes_nothing(toy: Path) -> None:
    config = stage(toy)
    model = load_pretrained(config.model, device="cpu", dtype="float32")
    model.video_language.requires_grad_(True)
    output = StageObjective(model, config)([ItemProblem("a.json", 0, "broken", "skipped")])
    output.loss.backward()
    assert (output.tokens, float(output.loss.detach()), len(output.problems)) == (0, 0.0, 1)
    gradients = [value.grad for value in model.video_language.parameters()]
    assert all(grad is not None and not grad.any() for grad in gradients)


def test_a_sample_is_cut_at_its_end_as_published_if_that_is_allowed(toy: Path, tmp_path: Path) -> None:
    (toy / "cut.json").write_text(json.dumps([item("0.mp4", "What?", "word " * 100)]))
    streams = [{"annotations": str(toy / "cut.json"), "features": str(toy / "features")}]
    whole = stage(toy, streams=streams, max_length=5000)
    model = load_pretrained(whole.model, device="cpu", dtype="float32")
    example = StageData(whole, model)(0)[0]
    assert not isinstance(example, ItemProblem)
    seen = len(example.layout.query_tokens())
    before = len(example.prompt.before)
    labels = np.concatenate([example.labels[:before], np.full(seen, IGNORED_LABEL), example.labels[before:]])
    length = len(labels) - 150
    cut = stage(toy, streams=streams, max_length=length, truncate=True)
    output = StageObjective(model, cut)([example])
    assert output.tokens == (labels[1:length] != IGNORED_LABEL).sum() < (labels != IGNORED_LABEL).sum()
    assert [problem.happened for problem in output.problems] == ["truncated"]
    uncut = StageObjective(model, whole)([example])
    assert uncut.tokens > output.tokens
    # The decoder looks back only, so the losses of the tokens that remain are those of the whole sample.
    network = model.video_language
    from afterview.model.batch import assemble
    from afterview.training.data.examples import perceive

    with torch.no_grad():
        batch = assemble(network, [perceive(example, network, model.vision, whole.forgetting)])
        logits = network.language.logits(network.language(batch.inputs_embeds))[0, : length - 1]
    targets = torch.from_numpy(labels[1:length])
    torch.testing.assert_close(output.loss, torch.nn.functional.cross_entropy(logits, targets), rtol=1e-4, atol=1e-5)
    trained = train_stage(cut.model_copy(update={"batch": 1}), tmp_path, cpu=True)
    assert trained.items == {"truncated": 1}


@pytest.mark.thorough
@pytest.mark.parametrize("most", [0.5, 0.0])
def test_two_processes_agree_on_what_is_skipped(toy: Path, tmp_path: Path, most: float) -> None:
    """In the last steps one process has nothing but a broken picture. Neither waits for the other for ever."""
    (toy / "two.json").write_text(json.dumps([about("good.png"), about("broken.png")]))
    streams = [{"annotations": str(toy / "two.json"), "pictures": str(toy)}]
    config = stage(toy, streams=streams, max_skipped=most, trainer={"steps": 3}).model_copy(update={"batch": 1})
    (tmp_path / "stage.json").write_text(config.model_dump_json(exclude_unset=True))
    out = tmp_path / "out"
    for done in in_two("-m", "afterview", "train", str(tmp_path / "stage.json"), "--out", str(out), "--cpu"):
        assert done.returncode == (0 if most else 1), done.stderr[-2000:]
        assert most or "1 items could not be used, and max_skipped allows 0" in done.stderr
    report = json.loads((out / REPORT).read_text())
    assert [one["item"] for one in report["items"]] == [1]
    assert json.loads((out / STATE / "progress.json").read_text())["step"] == (3 if most else 1)


def test_random_forgetting_is_drawn_anew_whenever_an_item_comes_up(toy: Path) -> None:
    (toy / "one.json").write_text(json.dumps([item("0.mp4", "What?", "It")]))
    streams = [{"annotations": str(toy / "one.json"), "features": str(toy / "features")}]
    config = stage(toy, streams=streams).model_copy(update={"batch": 1})
    model = load_pretrained(config.model, device="cpu", dtype="float32")
    batches = StageData(config, model)
    cells = [batches(epoch)[0].layout.cells.tolist() for epoch in range(4)]
    assert len({json.dumps(own) for own in cells}) == 4
    assert [StageData(config, model)(epoch)[0].layout.cells.tolist() for epoch in range(4)] == cells
    other = config.model_copy(update={"trainer": config.trainer.model_copy(update={"seed": 1})})
    assert StageData(other, model)(0)[0].layout.cells.tolist() != cells[0]


def test_a_run_that_was_interrupted_goes_on_past_a_bad_item(toy: Path, tmp_path: Path) -> None:
    config = stage(toy, bad_items="drop", trainer={"steps": 8, "save_every": 1})
    train_until(config, tmp_path, 3)
    assert train_stage(config, tmp_path, cpu=True).steps == 8
