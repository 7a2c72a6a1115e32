"""The stages of VideoChat-Flash: their configurations, what a stage sees of a video, and an epoch of the four on a toy set."""

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from afterview.configs import UsageError, load
from afterview.memory.plans.clip_marks import marks_of
from afterview.memory.plans.clip_sampling import ClipSampling
from afterview.memory.plans.clips import ClipLayout
from afterview.memory.plans.positions import VideoLayout
from afterview.model.base.settings import VisualDropoutConfig
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.preset import ModelPreset
from afterview.training.base.errors import DataError, TrainingError
from afterview.training.core.stage_data import StageData
from afterview.training.core.stages import StageConfig, StageObjective
from afterview.training.data.clip_rows import clip_rows, require_regular
from afterview.training.data.examples import Example
from afterview.training.data.features import save_features, save_frames
from afterview.training.data.report import REPORT, ItemProblem
from afterview.training.run import train_stage
from tests.model.checkpoint.test_flash import decoder_alone, raw_tower
from tests.support.toy_stage import train_until

CONFIGS = Path(__file__).parents[3] / "configs" / "training"
TOKENIZER = Path(__file__).parents[2] / "golden" / "prompts" / "tokenizer"
SHORT = {"min_frames": 4, "max_frames": 8, "multiple": 4}
DROPOUT = {"kind": "uniform0_attention", "layers": [1], "ratios": [1, 0.5]}


def item(question: str, answer: str, **media: Any) -> dict[str, Any]:
    return {**media, "conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A UMT-L alone and a Qwen, both scaled down; videos of 5, 12 and 20 frames in 224 and 448 pixels and as merged features."""
    root = tmp_path_factory.mktemp("flash-stages")
    raw_tower(root / "umt.pt")
    for file in TOKENIZER.iterdir():
        shutil.copy(file, decoder_alone(root / "qwen") if not (root / "qwen").exists() else root / "qwen")
    pair = {"name": "pair", "encoder": "umt.pt", "tower": "umt-large", "decoder": "qwen"}
    (root / "pair.yaml").write_text(json.dumps(pair))
    (root / "pair-memaug.yaml").write_text(json.dumps(pair | {"init_memaug": True, "memaug_depth": 1}))
    model = load_pretrained(root / "pair.yaml", device="cpu", dtype="float32")
    draw = np.random.default_rng(0)
    for name, count in (("short.mp4", 5), ("middle.mp4", 12), ("long.mp4", 20)):
        coarse = draw.integers(0, 256, (count, 14, 14, 3), dtype=np.uint8)
        frames = {side: coarse.repeat(side // 14, 1).repeat(side // 14, 2) for side in (224, 448)}
        for side, shown in list(frames.items())[: 1 + (name == "short.mp4")]:
            save_frames(root / f"frames-{side}", name, torch.from_numpy(shown), float(count))
        merged = torch.from_numpy(model.vision.encode(frames[224]).astype(np.float16))
        save_features(root / "features", name, merged, float(count), _spec(model))
    for number, size in enumerate([(60, 60), (50, 90)]):
        Image.fromarray(draw.integers(0, 256, (*size, 3), dtype=np.uint8)).save(root / f"{number}.png")
    names = ("short.mp4", "middle.mp4", "long.mp4")
    videos = [item("<image>\nWhat is seen?", f"Noise {n}", video=name) for n, name in enumerate(names)]
    pictures = [item("<image>\nWhat is this?", f"It is {n}", image=f"{n}.png") for n in range(2)]
    several = [item("<image>\n<image>\nWhich is wider?", "The second", image=["0.png", "1.png"])]
    text = [item("What is two and two?", "Four")]
    for name, items in {"videos": videos, "short": videos[:1], "pictures": pictures + several, "text": text}.items():
        (root / f"{name}.json").write_text(json.dumps(items))
    mixture = [
        {"json_path": "pictures.json", "sampling_strategy": "first:2"},
        {"json_path": "pictures.json", "sampling_strategy": "end:1"},
    ]
    (root / "pictures.yaml").write_text(json.dumps({"datasets": mixture}))
    return root


def _spec(model: AfterviewModel) -> Any:
    from afterview.memory.base.feature_spec import FeatureSpec
    from afterview.model.vision.no_index import NoIndex

    return FeatureSpec(model="pair", tokens=model.vision.spec, index=NoIndex().spec)


def stage(root: Path, model: str, rates: dict[str, float], videos: str, **changes: Any) -> StageConfig:
    """A stage over pictures (a mixture), text, and videos of three lengths, all in batches of two."""
    kind = "features" if videos == "features" else "frames"
    values: dict[str, Any] = {
        "name": "toy", "model": model, "batch": 2, "sampling": SHORT, "gradient_checkpointing": False,
        "trainer": {"epochs": 1, "learning_rates": rates, "log_every": 1, "warmup": 0.0},
        "streams": [
            {"annotations": root / "pictures.yaml", "pictures": root},
            {"annotations": root / "text.json"},
            {"annotations": root / "videos.json", kind: root / videos},
        ],
    }  # fmt: skip
    return StageConfig.model_validate(values | changes)


STAGES = {
    1: ({"projector": 1e-3}, 512, (4, 4), None),
    2: ({"vision": 2e-6, "projector": 1e-5, "language": 1e-5}, 256, (4, 8), None),
    3: ({"vision": 2e-6, "projector": 1e-5, "language": 1e-5}, 256, (64, 512), "umt-large"),
    4: ({"vision": 2e-6, "projector": 1e-5}, 256, (64, 512), "umt-hd-large"),
}


@pytest.mark.parametrize("number", STAGES)
def test_the_papers_stages_are_configured(number: int) -> None:
    config = load(CONFIGS / f"videochat-flash-7b-stage{number}.yaml", StageConfig)
    rates, together, (least, most), _ = STAGES[number]
    assert config.trainer.learning_rates == rates
    assert config.batch * config.trainer.accumulate * 8 == together
    assert config.sampling == ClipSampling(min_frames=least, max_frames=most, multiple=4)
    trainer = config.trainer
    assert (trainer.epochs, trainer.warmup, trainer.schedule, trainer.precision) == (1, 0.03, "cosine", "bf16")
    before = "configs/training/videochat-flash-7b-initial.yaml"
    assert config.model == (before if number == 1 else f"runs/videochat-flash-7b-stage{number - 1}/model")
    assert config.tower == ("umt-hd-large" if number == 4 else None)
    assert (config.visual_dropout is not None) == (number > 2)
    assert all(stream.frames is None for stream in config.streams) == (number == 1)


def test_the_initial_model_is_a_tower_a_decoder_and_a_new_projector() -> None:
    preset = load(CONFIGS / "videochat-flash-7b-initial.yaml", ModelPreset)
    assert (preset.tower, preset.decoder, preset.new_parts) == ("umt-large", "Qwen/Qwen2-7B-Instruct", ("projector",))


@pytest.mark.parametrize(
    ("frames", "seen"), [(3, 4), (50, 48), (64, 64), (90, 88), (511, 508), (600, 512), (3600, 512)]
)
def test_frames_follow_from_the_duration(frames: int, seen: int) -> None:
    sampling = ClipSampling(min_frames=64, max_frames=512, multiple=4)
    found = clip_rows(frames, float(frames), sampling, merged=False)
    assert len(found.rows) == seen
    assert found.sizes == (4,) * (seen // 4)
    assert (np.diff(found.rows) >= 0).all()
    assert found.rows[-1] < frames
    merged = clip_rows(frames, float(frames), sampling, merged=True)
    assert len(merged.rows) <= 512
    assert sum(merged.sizes) == len(merged.rows)
    starts = merged.rows[np.cumsum((0, *merged.sizes[:-1]))]
    assert (starts % 4 == 0).all(), "whole clips are taken, never parts"


def test_without_sampling_the_last_frame_completes_the_last_clip() -> None:
    assert clip_rows(6, 6.0, None, merged=False).rows.tolist() == [0, 1, 2, 3, 4, 5, 5, 5]
    assert clip_rows(6, 6.0, None, merged=True).sizes == (4, 2)


def test_merged_features_of_a_video_with_a_gap_are_not_extracted() -> None:
    require_regular("whole", marks_of(6, 4), np.arange(6))
    after_gap = np.concatenate([marks_of(3, 4), marks_of(4, 4)])
    for marks, shown in ((after_gap, np.arange(7)), (marks_of(6, 4), np.array([0, 1, 2, 2, 3, 4, 5]))):
        with pytest.raises(DataError, match="'v': seconds are missing, so its clips of 4 frames are not whole"):
            require_regular("v", marks, shown)


def examples(config: StageConfig) -> tuple[AfterviewModel, list[Example]]:
    """Every example of an epoch."""
    model = load_pretrained(config.model, device="cpu", dtype="float32", changes=config.ablations)
    data = StageData(config, model)
    found = [one for number in range(data.batches) for one in data(number)][: data.samples]
    assert not [one for one in found if isinstance(one, ItemProblem)]
    return model, found  # type: ignore[return-value]


def test_frames_and_merged_features_of_one_video_give_the_same_loss(toy: Path) -> None:
    """Where sampling takes whole clips, features of a frozen tower stand for its frames."""
    losses = []
    for videos in ("features", "frames-224"):
        config = stage(toy, str(toy / "pair.yaml"), {"projector": 1e-3}, videos, sampling=None)
        config = config.model_copy(update={"streams": config.streams[2:]})
        model, found = examples(config)
        middle = next(one for one in found if one.name == "middle.mp4")
        with torch.no_grad():
            losses.append(float(StageObjective(model, config).eval()([middle]).loss))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)  # features are stored in float16
    config = stage(toy, str(toy / "pair.yaml"), {"projector": 1e-3}, "features")
    _, merged = examples(config)
    lengths = {one.name: one.layout.rows for one in merged if isinstance(one.layout, ClipLayout)}
    assert lengths == {"short.mp4": 5, "middle.mp4": 8, "long.mp4": 8}


def test_the_prompt_states_the_frames_that_are_seen(toy: Path) -> None:
    model, found = examples(stage(toy, str(toy / "pair.yaml"), {"projector": 1e-3}, "features"))
    long = next(one for one in found if one.name == "long.mp4")
    assert model.tokenizer is not None
    said = model.tokenizer.decode(long.prompt.after)
    assert said.startswith("\nThe video lasts for 20.00 seconds, and 8 frames are uniformly sampled from it. \nWhat is")


def test_a_batch_of_pictures_text_and_videos_weighs_every_token_alike(toy: Path) -> None:
    config = stage(toy, str(toy / "pair.yaml"), {"projector": 1e-3}, "features")
    model, found = examples(config)
    objective = StageObjective(model, config).eval()
    with torch.no_grad():
        together, alone = objective(found), [objective([one]) for one in found]
    assert together.tokens == sum(one.tokens or 0 for one in alone)
    right = sum(float(one.loss) * (one.tokens or 0) for one in alone) / (together.tokens or 1)
    assert float(together.loss) == pytest.approx(right, rel=1e-4)
    assert not together.problems


def test_items_that_are_too_long_are_found_before_the_first_step(toy: Path) -> None:
    config = stage(toy, str(toy / "pair.yaml"), {"projector": 1e-3}, "features", max_length=160, bad_items="drop")
    model = load_pretrained(config.model, device="cpu", dtype="float32")
    data = StageData(config, model)
    kept = {item.annotation.name for items in data.items for item in items}
    objective = StageObjective(model, config).eval()
    lengths = {}
    for one in examples(config.model_copy(update={"max_length": 32_768}))[1]:
        lengths[one.name] = int(objective._length(objective._seen(one)))
    assert kept == {name for name, length in lengths.items() if length <= 160}
    assert 0 < len(kept) < len(lengths)


@pytest.mark.thorough
def test_an_epoch_of_the_four_stages_at_toy_size(toy: Path, tmp_path: Path) -> None:
    """Each stage starts from what the one before saved. Frozen parts stay, and what is saved loads as it was published."""
    pair = str(toy / "pair.yaml")
    all_parts = {"vision": 1e-4, "projector": 1e-3, "language": 1e-3}
    one = train_stage(stage(toy, pair, {"projector": 1e-3}, "features"), tmp_path / "1", cpu=True)
    assert one.steps == 4  # seven items, two a step
    two = train_stage(stage(toy, str(one.model), all_parts, "frames-224"), tmp_path / "2", cpu=True)
    long = {"min_frames": 8, "max_frames": 12, "multiple": 4}
    three = train_stage(
        stage(toy, str(two.model), all_parts, "frames-224", sampling=long, visual_dropout=DROPOUT),
        tmp_path / "3",
        cpu=True,
    )
    one_clip = {"min_frames": 4, "max_frames": 4, "multiple": 4}
    last = stage(
        toy, str(three.model), {"vision": 1e-4, "projector": 1e-3}, "frames-448", tower="umt-hd-large",
        sampling=one_clip, streams=[{"annotations": toy / "short.json", "frames": toy / "frames-448"}], batch=1,
    )  # fmt: skip
    four = train_stage(last, tmp_path / "4", cpu=True)
    before = [load_file(result.model / "model.safetensors") for result in (one, two, three, four)]
    moved = [{n.split(".")[1] for n in a if not torch.equal(a[n], b[n])} for a, b in pairwise(before)]
    assert moved[0] == moved[1] == {"vision_tower", "mm_projector", "embed_tokens", "layers", "norm"}
    assert moved[2] == {"vision_tower", "mm_projector"}
    assert all(line["loss"] > 0 for line in map(json.loads, four.log.read_text().splitlines()))
    published = json.loads((four.model / "config.json").read_text())
    assert published["mm_vision_tower"] == "umt-hd-large"
    assert published["image_grid_pinpoints"][0] == [448, 448]
    assert (published["mm_llm_compress"], published["llm_compress_layer_list"]) == (True, [1])
    final = load_pretrained(four.model, device="cpu", dtype="float32")
    assert final.vision.spec.resolution == 448
    assert final.preset.visual_dropout == VisualDropoutConfig.model_validate(DROPOUT)
    assert (final.trained, final.notice, final.preset.sees_clips) == (True, None, True)


def test_a_resumed_stage_equals_an_uninterrupted_one_and_names_what_it_skips(toy: Path, tmp_path: Path) -> None:
    shutil.copytree(toy / "features", tmp_path / "features")
    damaged = tmp_path / "features" / "middle.mp4.safetensors"
    config = stage(toy, str(toy / "pair.yaml"), {"projector": 1e-3, "language": 1e-3}, "features")
    videos = config.streams[2].model_copy(update={"features": tmp_path / "features"})
    steps = config.trainer.model_copy(update={"steps": 4, "epochs": None})
    config = config.model_copy(update={"streams": (*config.streams[:2], videos), "trainer": steps})
    content = bytearray(damaged.read_bytes())
    content[-30_000:] = b"\xff\x7f" * 15_000  # values that are not finite: found while training
    damaged.write_bytes(bytes(content))
    whole = train_stage(config, tmp_path / "whole", cpu=True)
    assert whole.items == {"skipped": 1}
    assert "middle.mp4" in (tmp_path / "whole" / REPORT).read_text()
    train_until(config, tmp_path / "parts", 2)
    resumed = train_stage(config, tmp_path / "parts", cpu=True)
    one, two = (load_file(result.model / "model.safetensors") for result in (whole, resumed))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_memaug_and_merged_clips_are_trained_together(toy: Path, tmp_path: Path) -> None:
    rates = {"projector": 1e-3, "memaug": 1e-3, "language": 1e-4}
    forgetting = {"max_frames": 4, "min_frames": 2}
    config = stage(
        toy, str(toy / "pair-memaug.yaml"), rates, "features", use_memaug=True, forgetting=forgetting,
        visual_dropout=DROPOUT,
    )  # fmt: skip
    _, found = examples(config)
    layouts = [one.layout for one in found if one.layout is not None]
    assert all(isinstance(layout, VideoLayout) and layout.tokens_per_frame == 16 for layout in layouts)
    result = train_stage(config, tmp_path / "both", cpu=True)
    model = load_pretrained(result.model, device="cpu", dtype="float32")
    assert (model.preset.use_memaug, model.preset.sees_clips) == (True, False)
    assert any(name.startswith("model.vision_resampler.") for name in load_file(result.model / "model.safetensors"))


def test_what_does_not_fit_the_model_is_refused(toy: Path, tmp_path: Path) -> None:
    from tests.support.toy_stage import toy_stage, write_toy_set

    other = write_toy_set(tmp_path)
    with pytest.raises(UsageError, match="is no VideoChat-Flash, which sampling is for; remove the key"):
        train_stage(toy_stage(other, sampling=SHORT), tmp_path / "out", cpu=True)
    config = stage(toy, str(toy / "pair.yaml"), {"memaug": 1e-3}, "features")
    with pytest.raises((UsageError, TrainingError), match="MemAug cannot learn"):
        train_stage(config, tmp_path / "other", cpu=True)
