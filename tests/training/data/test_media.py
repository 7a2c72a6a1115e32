"""Training on all media of the paper's stages: pictures, several pictures, text, videos as features and as frames."""

import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from afterview.cli.main import main
from afterview.model.batch import assemble
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.language.prompt import IGNORED_LABEL
from afterview.training.base.errors import DataError
from afterview.training.core.epochs import plan_epoch
from afterview.training.core.prefetch import Prefetcher
from afterview.training.core.stage_data import StageData
from afterview.training.core.stages import StageConfig, StageObjective
from afterview.training.data.examples import Example, perceive, see
from afterview.training.data.features import FeatureBank, FrameBank
from afterview.training.run import train_stage
from afterview.training.world.cameras import make_shared_story
from afterview.training.world.video import VideoFormat, write_shared_videos
from tests.support.presets import write_toy
from tests.training.core.test_trainer import weights

SEEN = {"max_frames": 8, "min_frames": 2}


def said(question: str, answer: str) -> list[dict[str, str]]:
    """One turn each."""
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cameras that share a story, as videos, frames and features of the toy's tower; three pictures; annotations of all kinds."""
    root = tmp_path_factory.mktemp("media")
    write_toy(root)
    story = make_shared_story(3, 16, 3)
    videos = write_shared_videos(story, root / "story.mp4", width=128, height=72, video=VideoFormat(rate=2))
    paths = [str(path) for path in videos.values()]
    for kind in ([], ["--frames"]):
        bank = str(root / ("frames" if kind else "features"))
        assert main(["extract", *paths, "--out", bank, "--model", str(root / "toy.yaml"), "--json", *kind]) == 0
    draw = np.random.default_rng(0)
    for number, size in enumerate([(64, 64), (90, 150), (140, 60)]):
        Image.fromarray(draw.integers(0, 256, (*size, 3), dtype=np.uint8)).save(root / f"{number}.png")
    one = [{"image": f"{n}.png", "conversations": said("<image>\nWhat is this?", f"It is {n}")} for n in range(3)]
    several = [{"image": ["0.png", "1.png"], "conversations": said("<image>\n<image>\nWhich is larger?", "The second")}]
    text = [{"conversations": said("What is two and two?", "Four")}]
    clips = [
        {"video": Path(p).name, "conversations": said("<image>\nWhat was seen?", f"Camera {n}")}
        for n, p in enumerate(paths)
    ]
    for name, items in {
        "one": one,
        "several": several,
        "text": text,
        "clips": clips,
        "mixed": one + several + text + clips,
    }.items():
        (root / f"{name}.json").write_text(json.dumps(items))
    return root


def stage(root: Path, streams: list[dict[str, object]], rates: dict[str, float], **changes: object) -> StageConfig:
    """A stage over some of the toy's streams."""
    trainer = {"steps": 5, "learning_rates": rates, "log_every": 1, "warmup": 0.0, **changes.pop("trainer", {})}  # type: ignore[dict-item]
    values = {
        "name": "toy", "model": str(root / "toy.yaml"), "trainer": trainer, "batch": 2, "forgetting": SEEN,
        "gradient_checkpointing": False, "streams": [{**s, "annotations": root / str(s["annotations"])} for s in streams],
    }  # fmt: skip
    return StageConfig.model_validate({**values, **changes})


def every_stream(root: Path, videos: str) -> list[dict[str, object]]:
    """Single pictures, several, text, and videos as `features` or as `frames`."""
    return [
        {"annotations": "one.json", "pictures": root, "weight": 1.0},
        {"annotations": "several.json", "pictures": root, "weight": 2.0},
        {"annotations": "text.json", "weight": 2.0},
        {"annotations": "clips.json", videos: root / videos, "weight": 1.0},
    ]


ALL = {"vision": 1e-3, "projector": 1e-3, "memaug": 1e-3, "language": 1e-3}


def test_streams_of_every_kind_are_mixed_by_weight(data: Path) -> None:
    config = stage(data, every_stream(data, "features"), {"memaug": 1e-3})
    batches = StageData(config, load_pretrained(config.model, device="cpu", dtype="float32"))
    found = [example for number in range(batches.batches) for example in batches(number)]
    kinds = [len(m.pictures) if m.layout is None else "video" for m in found]
    assert {kind: kinds.count(kind) for kind in kinds} == {1: 3, 2: 2, 0: 2, "video": 3}
    assert all(m.features is not None and m.features.shape == (16, 64, 32) for m in found if m.layout)


def test_a_text_alone_costs_what_the_decoder_alone_would(data: Path) -> None:
    """The blank picture of a text sample has no effect except gradients of zero."""
    config = stage(data, [{"annotations": "text.json"}], {"memaug": 1e-3}, batch=1)
    model = load_pretrained(config.model, device="cpu", dtype="float32")
    model.video_language.requires_grad_(True)
    (example,) = StageData(config, model)(0)
    output = StageObjective(model, config).eval()([example])
    ids = torch.from_numpy(np.concatenate([example.prompt.before, example.prompt.after]))
    language = model.video_language.language
    hidden = language(language.embed(ids.numpy())[None], torch.ones(1, len(ids), dtype=torch.bool))
    labels = torch.from_numpy(example.labels)[1:]
    supervised = labels != IGNORED_LABEL
    alone = torch.nn.functional.cross_entropy(language.logits(hidden[0, :-1][supervised]).float(), labels[supervised])
    torch.testing.assert_close(output.loss, alone, rtol=1e-5, atol=1e-6)
    output.loss.backward()
    assert all(p.grad is not None for p in model.video_language.parameters())
    assert not any(p.grad.abs().sum() for p in model.video_language.memaug.parameters() if p.grad is not None)


def test_a_sample_of_pictures_is_seen_as_a_question_about_them(data: Path, tmp_path: Path) -> None:
    """Tags, positions, tiles and the tokens that join MemAug's queries are the same in training and in asking."""
    asked = {"one.json": ("What is <image>", ["1.png"]), "two.json": ("A <image> or B <image>?", ["1.png", "2.png"])}
    for name, (question, pictures) in asked.items():
        items = [{"image": pictures, "conversations": said(question, "The second")}]
        (tmp_path / name).write_text(json.dumps(items))
        config = stage(data, [{"annotations": tmp_path / name, "pictures": data}], {"memaug": 1e-3}, batch=1)
        model = load_pretrained(config.model, device="cpu", dtype="float32")
        (example,) = StageData(config, model)(0)
        with torch.no_grad():
            sample = perceive(example, model.video_language, model.vision, config.forgetting)
            learnt = assemble(model.video_language, [sample])
        inputs = model.picture_inputs(question, example.pictures, seed=example.seed)
        length = len(inputs.inputs_embeds)
        torch.testing.assert_close(learnt.inputs_embeds[0, :length], inputs.inputs_embeds)
        assert learnt.visual == [inputs.visual]
        assert (learnt.labels[0, :length] == IGNORED_LABEL).all()
        assert (learnt.labels[0, length:] != IGNORED_LABEL).all()


def test_frames_seen_in_training_are_the_features_of_ingest(data: Path) -> None:
    model = load_pretrained(data / "toy.yaml", device="cpu", dtype="float32")
    frames, seconds = FrameBank(data / "frames").load("story-gate.mp4")
    features, same = FeatureBank(data / "features").load("story-gate.mp4")
    assert (tuple(frames.shape), frames.dtype, seconds) == ((16, 64, 64, 3), torch.uint8, same)
    with torch.no_grad():
        seen = see(model.vision, frames.numpy())
    likeness = torch.nn.functional.cosine_similarity(seen.flatten(1), features.float().flatten(1))
    assert (likeness > 0.97).all()  # frames of a memory are JPEGs
    with pytest.raises(DataError, match="64 pixels cannot train a tower that takes 384"):
        FrameBank(data / "frames").require(384)


def test_gradients_reach_the_tower_from_every_frame_and_picture(data: Path) -> None:
    config = stage(data, every_stream(data, "frames"), ALL, batch=10, gradient_checkpointing=True)
    model = load_pretrained(config.model, device="cpu", dtype="float32")
    objective = StageObjective(model, config).train().requires_grad_(True)
    examples: list[Example] = StageData(config, model)(0)
    objective(examples).loss.backward()
    tower = dict(model.vision.tower.named_parameters())
    without = [name for name, p in tower.items() if p.grad is None or not p.grad.abs().sum()]
    assert without == [name for name in tower if name.startswith("post_layernorm.")]
    sample = perceive(
        next(m for m in examples if m.frames is not None), objective.model, model.vision, config.forgetting
    )
    assert sample.features.requires_grad


def test_a_stage_over_everything_moves_the_tower_and_resumes_to_the_bit(data: Path, tmp_path: Path) -> None:
    config = stage(data, every_stream(data, "frames"), ALL, gradient_checkpointing=True, trainer={"accumulate": 2})
    whole = train_stage(config, tmp_path / "whole", cpu=True)
    shorter = config.model_copy(update={"trainer": config.trainer.model_copy(update={"save_every": 1})})
    from afterview.training.core.parts import parts_of
    from afterview.training.core.trainer import Trainer

    model = load_pretrained(config.model, device="cpu", dtype="float32")
    parts = parts_of(model.video_language, model.vision.tower)
    half = Trainer(StageObjective(model, shorter), parts, shorter.trainer, tmp_path / "parts", cpu=True)
    assert half.rates == ALL
    half.run(StageData(shorter, model), until=2)
    resumed = train_stage(config, tmp_path / "parts", cpu=True)
    one, two = weights(whole.model), weights(resumed.model)
    assert all(torch.equal(one[name], two[name]) for name in one)
    from afterview.model.checkpoint.saving import save_pretrained

    save_pretrained(load_pretrained(config.model, device="cpu"), tmp_path / "before")
    before = load_file(tmp_path / "before" / "model.safetensors")
    tower = [name for name in one if ".vision_tower." in name]
    still = {name for name in tower if torch.equal(before[name], one[name])}
    assert still == {name for name in tower if "post_layernorm" in name}
    assert len(tower) > len(still)


@pytest.mark.thorough
def test_the_papers_three_stages_run_in_a_row_over_three_cameras(data: Path, tmp_path: Path) -> None:
    """The paper's table, scaled down: pictures for MemAug; everything for all parts; then a frozen tower and steps of one stream."""
    one = stage(data, every_stream(data, "features")[:1], {"memaug": 1e-3}, forgetting={**SEEN, "temporal_ratio": 1})
    first = train_stage(one, tmp_path / "1", cpu=True)
    two = stage(data, every_stream(data, "frames"), ALL, model=str(first.model), gradient_checkpointing=True)
    second = train_stage(two, tmp_path / "2", cpu=True)
    mixed = [
        {"annotations": "mixed.json", "features": tmp_path / "features", "pictures": data},
        {"annotations": "clips.json", "features": tmp_path / "features"},
    ]
    rates = {name: rate for name, rate in ALL.items() if name != "vision"}
    three = stage(data, mixed, rates, model=str(second.model), batching="one-stream", trainer={"accumulate": 2})
    stale = stage(data, every_stream(data, "features"), rates, model=str(second.model))
    with pytest.raises(DataError, match="their vision towers differ"):
        train_stage(stale, tmp_path / "stale", cpu=True)
    videos = [str(path) for path in sorted(data.glob("story-*.mp4"))]
    assert main(["extract", *videos, "--out", str(tmp_path / "features"), "--model", str(second.model)]) == 0
    third = train_stage(three, tmp_path / "3", cpu=True)
    final = load_pretrained(third.model, device="cpu")
    assert final.trained
    before, after = weights(second.model), weights(third.model)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(".vision_tower." in name for name in moved)
    assert any(name.startswith("model.layers.") for name in moved)


def test_the_batches_of_a_step_come_from_one_stream() -> None:
    order = plan_epoch([10, 4], [1.0, 2.0], together=6, seed=1, epoch=0)
    steps = [order[at : at + 6] for at in range(0, len(order), 6)]
    assert len(steps) == 4
    assert all(len({stream for stream, _ in step}) == 1 for step in steps)
    assert all(len(step) == 6 for step in steps)
    assert {item for stream, item in order if stream == 0} == set(range(10))


def test_batches_are_read_ahead_in_one_thread_and_failures_come_when_they_are_due() -> None:
    read: list[tuple[int, str]] = []

    def batch_of(number: int) -> int:
        read.append((number, threading.current_thread().name))
        if number == 5:
            raise DataError("five is damaged")
        return number * number

    ahead = Prefetcher(batch_of, stride=2)
    try:
        assert [ahead(number) for number in (1, 3)] == [1, 9]
        with pytest.raises(DataError, match="five is damaged"):
            ahead(5)
        assert ahead(8) == 64  # not the next one: read on request
    finally:
        ahead.close()
    assert [number for number, _ in read][:4] == [1, 3, 5, 8]
    assert len({thread for _, thread in read}) == 1


def test_a_stream_must_say_where_its_videos_and_pictures_are(data: Path) -> None:
    model = load_pretrained(data / "toy.yaml", device="cpu", dtype="float32")
    for streams, message in (
        ([{"annotations": "one.json"}], r"has pictures \('0.png'\); give the stream `pictures`"),
        ([{"annotations": "clips.json"}], "give the stream `features` or `frames`"),
        ([{"annotations": "one.json", "pictures": data / "nowhere"}], "does not have '0.png'"),
    ):
        config = stage(data, streams, {"memaug": 1e-3})
        with pytest.raises(DataError, match=message):
            StageData(config, model)(0)
    with pytest.raises(ValueError, match="features and frames are given; give one of them"):
        stage(data, [{"annotations": "clips.json", "features": data, "frames": data}], {"memaug": 1e-3})


def test_extract_reads_memories_and_passes_over_what_is_there(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = str(tmp_path / "memory")
    video = str(data / "story-gate.mp4")
    assert main(["replay", video, "--memory", memory, "--camera", "gate", "--model", str(data / "toy.yaml")]) == 0
    command = ["extract", memory, "--out", str(tmp_path / "bank"), "--model", str(data / "toy.yaml"), "--json"]
    capsys.readouterr()
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["made"] == ["gate"]
    remembered, _ = FeatureBank(tmp_path / "bank").load("gate")
    fresh, _ = FeatureBank(data / "features").load("story-gate.mp4")
    torch.testing.assert_close(remembered, fresh)
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["made"] == []
    os.truncate(tmp_path / "bank" / "gate.safetensors", 500)
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["made"] == ["gate"]
    again, _ = FeatureBank(tmp_path / "bank").load("gate")
    assert torch.equal(again, remembered)
    assert {path.name for path in (tmp_path / "bank").iterdir()} == {"spec.json", "gate.safetensors"}
    (tmp_path / "other").mkdir()
    twin = shutil.copy(video, tmp_path / "other")
    for arguments, message in (
        ([str(tmp_path / "nothing.mp4")], "no such file"),
        ([video, memory, twin], "would both be 'story-gate.mp4' in the bank; give `--root DIR`"),
        ([memory, "--frames"], "is a bank of features; give another directory for frames"),
        ([memory, "--model", "tiny"], "their vision towers differ"),
    ):
        model = [] if "--model" in arguments else ["--model", str(data / "toy.yaml")]
        assert main(["extract", "--out", str(tmp_path / "bank"), *model, *arguments]) == 2
        assert message in capsys.readouterr().err
