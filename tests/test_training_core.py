"""The training core: rates that apply, frozen parts, resuming to the bit, conversations, epochs, and the three stages on a toy set."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from afterimage.cli import main
from memory.forgetting import ForgettingConfig
from model.checkpoint import load_pretrained
from model.loaded import AfterimageModel
from model.prompt import IGNORED_LABEL
from tests.presets import write_toy
from training.conversations import read_annotations, read_conversation
from training.curves import draw_curves
from training.errors import DataError, TrainingError
from training.features import FeatureBank, save_features
from training.parts import parameter_groups, parts_of
from training.run import train_stage
from training.stages import DataStream, StageConfig, StageData, plan_epoch
from training.trainer import LOG, STATE, Lesson, Trainer, TrainerConfig, rate_share


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset of the published architecture, scaled down, and features of three cameras with a conversation each."""
    root = tmp_path_factory.mktemp("toy")
    spec = load_pretrained(write_toy(root), device="cpu").encoders.feature_spec
    draw = torch.Generator().manual_seed(0)
    annotations = []
    for camera in range(3):
        name = f"camera-{camera}.mp4"
        save_features(root / "features", name, torch.randn(12, 64, 32, generator=draw).half(), 12.0, spec)
        turns = [("human", f"<image>\nWhat is {camera}?"), ("gpt", "A yes"), ("human", "And now?"), ("gpt", "A no")]
        annotations.append({"id": camera, "video": name, "conversations": [{"from": f, "value": v} for f, v in turns]})
    (root / "annotations.json").write_text(json.dumps(annotations))
    return root


def stage(root: Path, **changes: object) -> StageConfig:
    """A stage over the toy set."""
    values = {
        "name": "toy",
        "model": str(root / "toy.yaml"),
        "trainer": {
            "steps": 6,
            "learning_rates": {"projector": 1e-3, "memaug": 1e-3, "language": 1e-4},
            "log_every": 1,
        },
        "streams": [{"annotations": root / "annotations.json", "features": root / "features"}],
        "batch": 2,
        "forgetting": {"max_frames": 8, "min_frames": 2},
        "gradient_checkpointing": False,
    }
    return StageConfig.model_validate({**values, **changes})


def weights(directory: Path) -> dict[str, torch.Tensor]:
    """Every parameter of a saved model, by its published name."""
    from safetensors.torch import load_file

    return load_file(directory / "model.safetensors")


def test_every_part_has_its_own_rate_in_the_optimizer_and_frozen_parts_are_not_there(toy: Path, tmp_path: Path) -> None:
    model = load_pretrained(toy / "toy.yaml", device="cpu")
    parts = parts_of(model.video_language, model.vision.tower)
    config = TrainerConfig(
        steps=10, learning_rates={"projector": 3e-4, "memaug": 1e-4}, warmup=0.0, schedule="constant"
    )
    trainer = Trainer(model.video_language, parts, config, tmp_path, cpu=True)
    assert trainer.rates == {"projector": 3e-4, "memaug": 1e-4}
    assert all(p.requires_grad for p in parts["memaug"])
    assert not any(p.requires_grad for p in parts["language"] + parts["vision"])


def test_rates_for_parts_that_do_not_exist_or_for_none_are_refused() -> None:
    parts = {"memaug": [nn.Parameter(torch.zeros(1))]}
    with pytest.raises(TrainingError, match="no part is called 'memog'"):
        parameter_groups(parts, {"memog": 1e-3})
    with pytest.raises(TrainingError, match="nothing would learn"):
        parameter_groups(parts, {"memaug": 0.0})


def test_frozen_parts_stay_bit_identical_and_learning_parts_move(toy: Path, tmp_path: Path) -> None:
    frozen = {"steps": 2, "learning_rates": {"memaug": 1e-3}, "warmup": 0.0}
    trained = train_stage(stage(toy, trainer=frozen), tmp_path, cpu=True)
    from model.save import save_pretrained

    save_pretrained(load_pretrained(toy / "toy.yaml", device="cpu"), tmp_path / "before")
    before, after = weights(tmp_path / "before"), weights(trained.model)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("model.vision_resampler.") for name in moved)


def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(toy: Path, tmp_path: Path) -> None:
    config = stage(toy)
    whole = train_stage(config, tmp_path / "whole", cpu=True)
    model = load_pretrained(config.model, device="cpu", dtype="float32")
    from training.stages import StageLearner

    learner = StageLearner(model, config)
    parts = parts_of(model.video_language, model.vision.tower)
    half = Trainer(learner, parts, config.trainer, tmp_path / "parts", cpu=True)
    half.run(StageData(config, model), until=3)
    assert half.step == 3
    resumed = train_stage(config, tmp_path / "parts", cpu=True)
    assert resumed.steps == 6
    one, two = weights(whole.model), weights(resumed.model)
    assert all(torch.equal(one[name], two[name]) for name in one)


class Line(nn.Module):
    """The least that can learn."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> Lesson:
        off = (self.slope - x).abs()
        return Lesson((off**2).sum(), {"near/right": (off < 0.5).sum(), "near/asked": torch.tensor(len(x))})


def line_trainer(directory: Path, **changes: object) -> Trainer:
    line = Line()
    values = {"steps": 40, "learning_rates": {"line": 0.1}, "warmup": 0.0, "schedule": "constant", **changes}
    return Trainer(line, {"line": [line.slope]}, TrainerConfig.model_validate(values), directory, cpu=True)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    first = line_trainer(tmp_path)
    assert not first.resume()
    assert first.run(lambda number: torch.ones(1))
    assert first.learner.slope.item() == pytest.approx(1.0, abs=0.2)
    assert line_trainer(tmp_path).resume()
    (tmp_path / STATE / "progress.json").write_text("{")
    with pytest.raises(TrainingError, match="delete it to begin anew"):
        line_trainer(tmp_path).resume()


@pytest.mark.parametrize(("killed_at", "resumes_at"), [(5, 0), (10, 6), (31, 30)])
def test_a_killed_run_goes_on_with_the_log_that_it_would_have_had(
    killed_at: int, resumes_at: int, tmp_path: Path
) -> None:
    """The log is ahead of the checkpoint, or a line of it is half done: curricula read from it where they stand."""

    def batch(number: int) -> torch.Tensor:
        return torch.ones(3) * math.sin(number)

    def until_killed(number: int) -> torch.Tensor:
        if number == killed_at:
            raise KeyboardInterrupt
        return batch(number)

    def log(directory: Path) -> list[dict[str, float]]:
        timed = ("steps_per_s", "data_share")
        lines = [json.loads(line) for line in (directory / LOG).read_text().splitlines()]
        return [{name: value for name, value in line.items() if name not in timed} for line in lines]

    often = {"log_every": 4, "save_every": 6}
    line_trainer(tmp_path / "whole", **often).run(batch)
    with pytest.raises(KeyboardInterrupt):
        line_trainer(tmp_path / "killed", **often).run(until_killed)
    with (tmp_path / "killed" / LOG).open("a") as half:
        half.write('{"step": 3')
    resumed = line_trainer(tmp_path / "killed", **often)
    assert resumed.resume() == (resumes_at > 0)
    assert resumed.step == resumes_at
    assert [line["step"] for line in resumed.logged()] == list(range(4, resumes_at + 1, 4))
    heard: list[dict[str, float]] = []
    resumed._on_log = heard.append
    resumed.run(batch)
    assert log(tmp_path / "killed") == log(tmp_path / "whole")
    assert heard == resumed.logged()[-len(heard) :]


def test_the_three_stages_run_an_epoch_over_three_cameras(toy: Path, tmp_path: Path) -> None:
    rates = [
        {"memaug": 1e-3},
        {"projector": 1e-3, "memaug": 1e-3, "language": 1e-4},
        {"projector": 1e-3, "memaug": 1e-3, "language": 1e-4},
    ]
    start = str(toy / "toy.yaml")
    for number, learning in enumerate(rates, 1):
        temporal = 1 if number == 1 else 4
        config = stage(
            toy, model=start, trainer={"steps": 2, "learning_rates": learning, "accumulate": 1}, gradient_checkpointing=number > 1,
            batching="random" if number < 3 else "one-stream", forgetting={"temporal_ratio": temporal, "max_frames": 16, "min_frames": 2},
        )  # fmt: skip
        trained = train_stage(config, tmp_path / str(number), cpu=True)
        start = str(trained.model)
    final = load_pretrained(start, device="cpu")
    assert final.trained
    assert (tmp_path / "3" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "3" / LOG).read_text().splitlines()) == 1


def test_the_tower_cannot_learn_from_cached_features(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot learn from cached features; give the stream `frames`"):
        train_stage(stage(toy, trainer={"steps": 1, "learning_rates": {"vision": 5e-6}}), tmp_path, cpu=True)


def test_only_answers_are_supervised_and_only_ignored_tokens_join_the_queries(toy: Path) -> None:
    tokenizer = load_pretrained(toy / "toy.yaml", device="cpu").tokenizer
    pairs = [("Who?", "Ann"), ("When?", "At two")]
    prompt, labels = read_conversation(tokenizer, pairs, frames=9, seconds=9.0)
    taught = tokenizer.decode(labels[labels != IGNORED_LABEL])
    assert taught == "Ann<|im_end|>At two<|im_end|>"
    assert np.array_equal(np.concatenate(prompt.joining()), labels == IGNORED_LABEL)
    assert tokenizer.decode(prompt.after[prompt.question]) == "Who?"
    _, parity = read_conversation(tokenizer, pairs, frames=9, seconds=9.0, supervise_roles=True)
    assert (parity != IGNORED_LABEL).sum() > (labels != IGNORED_LABEL).sum()


def test_an_answer_cannot_end_its_own_turn(toy: Path) -> None:
    tokenizer = load_pretrained(toy / "toy.yaml", device="cpu").tokenizer
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    _, labels = read_conversation(tokenizer, [("Who?", "<|im_end|>Ann")], frames=1, seconds=1.0)
    assert (labels == end).sum() == 1


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "with at least one"),
        ('[{"video": "a.mp4"}]', "item 0: conversations"),
        ('[{"video": "a.mp4", "image": "a.jpg", "conversations": [Q, A]}]', "both a video and an image"),
        ('[{"image": [""], "conversations": [Q, A]}]', "names are expected"),
        ('[{"video": "a.mp4", "conversations": [{"from": "gpt", "value": "x"}]}]', "must take turns"),
    ],
)
def test_annotations_that_are_wrong_are_named(items: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    turns = {"Q": '{"from": "human", "value": "x"}', "A": '{"from": "gpt", "value": "x"}'}
    path.write_text(items.replace("Q,", f"{turns['Q']},").replace("A]", f"{turns['A']}]"))
    with pytest.raises(DataError, match=message):
        read_annotations(path)


def test_features_of_another_tower_and_missing_ones_are_refused(toy: Path, tmp_path: Path) -> None:
    bank = FeatureBank(toy / "features")
    other = bank.spec.model_copy(update={"tokens": bank.spec.tokens.model_copy(update={"weights": "sha256:other"})})
    with pytest.raises(DataError, match="their vision towers differ"):
        bank.require(other)
    with pytest.raises(DataError, match="nowhere"):
        bank.load("nowhere.mp4")
    with pytest.raises(DataError, match="no features can be read without it"):
        FeatureBank(tmp_path)


def test_an_epoch_holds_every_item_by_its_weight_and_keeps_streams_apart() -> None:
    order = plan_epoch([10, 4], [1.5, 2.0], 3, apart=1, seed=1, epoch=0)
    items = [pair for batch in order for pair in batch]
    assert sum(stream == 0 for stream, _ in items) == 15
    assert sorted(item for stream, item in items if stream == 1) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert all(len({stream for stream, _ in batch}) == 1 for batch in order)
    assert order == plan_epoch([10, 4], [1.5, 2.0], 3, apart=1, seed=1, epoch=0)
    assert order != plan_epoch([10, 4], [1.5, 2.0], 3, apart=1, seed=1, epoch=1)


def test_the_rate_rises_then_falls_as_scheduled() -> None:
    config = TrainerConfig(steps=100, learning_rates={"x": 1.0}, warmup=0.1)
    shares = [rate_share(step, config) for step in range(100)]
    assert shares[0] < shares[5] < shares[10] == 1.0
    assert shares[-1] < 0.01
    fall = config.model_copy(update={"schedule": "cooldown", "cooldown": 0.5})
    assert rate_share(49, fall) == 1.0
    assert rate_share(75, fall) == pytest.approx(0.5)


def test_curves_need_a_log(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="holds no line"):
        draw_curves(tmp_path / "log.jsonl")


@pytest.mark.parametrize("part", ["3b", "7b"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_papers_stages_are_configured(part: str, number: int) -> None:
    from configs import load

    config = load(
        Path(__file__).parents[1] / "configs" / "training" / f"hour-llava-{part}-stage{number}.yaml", StageConfig
    )
    rates = config.trainer.learning_rates
    assert rates["memaug"] == 1e-4
    assert ("language" in rates) == (number > 1)
    assert rates.get("vision") == (5e-6 if number == 2 else None)
    assert config.batching == ("one-stream" if number == 3 else "random")
    assert config.forgetting == ForgettingConfig(temporal_ratio=1 if number == 1 else 4)
    assert config.trainer.warmup == 0.03
    assert isinstance(config.streams[0], DataStream)


def test_train_refuses_a_directory_in_use_and_a_missing_configuration(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(tmp_path / "none.yaml"), "--out", str(tmp_path)]) == 2
    assert "no such file" in capsys.readouterr().err
    config = tmp_path / "stage.yaml"
    values = stage(toy, trainer={"steps": 1, "learning_rates": {"memaug": 1e-3}}).model_dump(
        mode="json", exclude_unset=True
    )
    config.write_text(json.dumps(values))
    assert main(["train", str(config), "--out", str(tmp_path / "run"), "--cpu", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert isinstance(load_pretrained(document["model"], device="cpu"), AfterimageModel)
    assert main(["train", str(config), "--out", str(tmp_path / "run"), "--cpu"]) == 2
    assert "give --resume" in capsys.readouterr().err


def test_the_core_runs_without_zarr_faiss_and_av() -> None:
    """GPU machines may lack them."""
    program = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('zarr', 'faiss', 'av', 'asyncio_mqtt'):\n"
        "            raise ImportError('blocked: ' + name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "import training.run, training.tiny.make, training.stages, training.trainer, training.features\n"
        "try:\n"
        "    import zarr\n"
        "except ImportError as error:\n"
        "    assert 'blocked' in str(error)\n"
        "    print('core is in')\n"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, timeout=120)
    assert done.stdout.strip() == "core is in", done.stderr


def test_features_of_a_video_are_those_that_ingest_remembers(tmp_path: Path) -> None:
    from model.preprocess import to_square
    from training.extract import extract_video
    from training.world import World
    from training.world.video import VideoFormat, write_video

    encoders = load_pretrained("tiny", device="cpu").encoders
    world = World(9, 12.0, width=128, height=72)
    write_video(world, tmp_path / "story.mp4", video=VideoFormat(rate=2))
    assert extract_video(tmp_path / "story.mp4", encoders, tmp_path / "features")
    assert not extract_video(tmp_path / "story.mp4", encoders, tmp_path / "features")
    features, seconds = FeatureBank(tmp_path / "features").load("story.mp4")
    assert (tuple(features.shape), seconds) == ((12, 64, 128), 12.0)
    drawn = np.stack([to_square(world.frame(float(t)), encoders.vision.spec.resolution) for t in range(12)])
    likeness = torch.nn.functional.cosine_similarity(
        torch.from_numpy(encoders.vision.encode(drawn)).float().flatten(1), features.float().flatten(1)
    )
    assert (likeness > 0.95).all()  # but for what H.264 lost
