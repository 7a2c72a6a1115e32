"""The training core: rates, frozen parts, exact resuming, conversations, epochs, and the three stages on a toy data set."""

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import nn

from afterview.cli.main import main
from afterview.configs import UsageError
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.prompt import IGNORED_LABEL
from afterview.training.base.errors import DataError, TrainingError
from afterview.training.core.checkpoints import STATE
from afterview.training.core.curves import draw_curves
from afterview.training.core.epochs import SampleOrder, plan_epoch
from afterview.training.core.parts import MODEL_PARTS, parameter_groups, parts_of
from afterview.training.core.stage_data import StageData
from afterview.training.core.stages import DataStream, StageConfig, StageObjective
from afterview.training.core.trainer import (
    LOG,
    OnLog,
    StepOutput,
    Trainer,
    precision_of,
    rate_share,
)
from afterview.training.core.trainer_config import TrainerConfig
from afterview.training.data.conversations import Annotation, read_conversation
from afterview.training.data.features import FeatureBank, save_features
from afterview.training.run import train_stage
from tests.support.annotations import read_annotations
from tests.support.presets import write_preset, write_toy


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset of the published architecture, scaled down, and features of three cameras with one conversation each."""
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
    return load_file(directory / "model.safetensors")


def test_every_part_has_its_own_rate_in_the_optimizer_and_frozen_parts_are_not_there(toy: Path, tmp_path: Path) -> None:
    model = load_pretrained(toy / "toy.yaml", device="cpu")
    parts = parts_of(model.video_language, model.vision.tower)
    config = TrainerConfig(
        steps=10, learning_rates={"projector": 3e-4, "memaug": 1e-4}, warmup=0.0, schedule="constant"
    )
    trainer = Trainer(model.video_language, parts, config, tmp_path, cpu=True)
    assert trainer.rates == {"projector": 3e-4, "memaug": 1e-4}
    assert tuple(parts) == MODEL_PARTS
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
    from afterview.model.checkpoint.saving import save_pretrained

    save_pretrained(load_pretrained(toy / "toy.yaml", device="cpu"), tmp_path / "before")
    before, after = weights(tmp_path / "before"), weights(trained.model)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("model.vision_resampler.") for name in moved)


def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(toy: Path, tmp_path: Path) -> None:
    config = stage(toy)
    whole = train_stage(config, tmp_path / "whole", cpu=True)
    model = load_pretrained(config.model, device="cpu", dtype="float32")
    objective = StageObjective(model, config)
    parts = parts_of(model.video_language, model.vision.tower)
    half = Trainer(objective, parts, config.trainer, tmp_path / "parts", cpu=True)
    half.run(StageData(config, model), until=3)
    assert half.step == 3
    resumed = train_stage(config, tmp_path / "parts", cpu=True)
    assert resumed.steps == 6
    one, two = weights(whole.model), weights(resumed.model)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_each_step_is_taken_at_each_parts_own_rate(tmp_path: Path) -> None:
    """Under a constant gradient, the length of Adam's steps is the rate, so the parameters show which rates applied."""
    parts = {name: [nn.Parameter(torch.zeros(1))] for name in ("slow", "fast", "still")}

    class All(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.all = nn.ParameterList([part[0] for part in parts.values()])

        def forward(self, x: torch.Tensor) -> StepOutput:
            return StepOutput(torch.cat(list(self.all)).sum() * x.sum(), {})

    config = TrainerConfig(
        steps=4, learning_rates={"slow": 1e-3, "fast": 5e-2}, warmup=0.5, schedule="constant", log_every=1, clip=1e9
    )
    trainer = Trainer(All(), parts, config, tmp_path, cpu=True)
    trainer.run(lambda number: torch.ones(1))
    shares = [rate_share(step, config) for step in range(4)]
    assert shares[0] < shares[1] < shares[2] == shares[3] == 1.0
    for name, rate in config.learning_rates.items():
        assert parts[name][0].item() == pytest.approx(-rate * sum(shares), rel=1e-4)
        logged = [line[f"rate/{name}"] for line in trainer.logged()]
        assert logged == pytest.approx([rate * share for share in shares], abs=1e-6)
    assert parts["still"][0].item() == 0.0


def test_small_learning_rates_are_logged_with_their_digits(tmp_path: Path) -> None:
    rate = 2.0e-6
    trainer = line_trainer(tmp_path, steps=8, learning_rates={"line": rate}, schedule="cosine", log_every=1)
    trainer.run(lambda number: torch.ones(1))
    logged = [line["rate/line"] for line in trainer.logged()]
    right = [rate * 0.5 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    assert logged == pytest.approx(right, rel=1e-5)
    assert [line["step"] for line in trainer.logged()] == list(range(1, 9))


def test_a_figure_that_some_batches_have_is_their_mean(tmp_path: Path) -> None:
    trainer = line_trainer(tmp_path, steps=4, accumulate=2, log_every=2)
    trainer.run(lambda number: torch.tensor([2.0 + number if number % 2 else -1.0]))
    assert [line["highest"] for line in trainer.logged()] == [4.0, 8.0]


class Line(nn.Module):
    """A minimal objective."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> StepOutput:
        off = (self.slope - x).abs()
        figures = {"near/right": (off < 0.5).sum(), "near/asked": torch.tensor(len(x))}
        if x[0] > 0:  # as where batches are of two sorts
            figures["highest"] = x.max()
        return StepOutput((off**2).sum(), figures)


def line_trainer(directory: Path, on_log: OnLog | None = None, **changes: object) -> Trainer:
    line = Line()
    values = {"steps": 40, "learning_rates": {"line": 0.1}, "warmup": 0.0, "schedule": "constant", **changes}
    config = TrainerConfig.model_validate(values)
    return Trainer(line, {"line": [line.slope]}, config, directory, cpu=True, on_log=on_log)


def test_a_checkpoint_of_tied_weights_is_saved_and_read_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = line_trainer(tmp_path)
    trainer.objective.twin = trainer.objective.slope
    assert trainer.run(lambda number: torch.ones(1))
    again = line_trainer(tmp_path)
    again.objective.twin = again.objective.slope
    assert again.resume()
    assert torch.equal(again.objective.slope, trainer.objective.slope)
    assert "shared tensor" not in caplog.text


def test_a_state_of_version_0_1_0_resumes_although_it_calls_token_embeddings_marks(tmp_path: Path) -> None:
    preset = write_preset(tmp_path, geometry={"memory_marks": ["place", "time", "summary"]})

    def trainer() -> Trainer:
        objective = nn.Module()
        objective.model = load_pretrained(preset, device="cpu", dtype="float32").video_language
        embeddings = list(objective.model.token_embeddings.parameters())
        config = TrainerConfig(steps=2, learning_rates={"projector": 1e-3})
        return Trainer(objective, {"projector": embeddings}, config, tmp_path, cpu=True)

    first = trainer()
    with torch.no_grad():
        for number, parameter in enumerate(first.objective.model.token_embeddings.parameters()):
            parameter.fill_(number + 1.0)
    first.save()
    state = weights(tmp_path / STATE)
    old = {name.replace("model.token_embeddings.", "model.marks."): value for name, value in state.items()}
    assert sum(name.startswith("model.marks.") for name in old) == 6
    save_file(old, tmp_path / STATE / "model.safetensors", metadata={"format": "pt"})
    again = trainer()
    assert again.resume()
    loaded = again.objective.model.token_embeddings.parameters()
    assert [value.unique().tolist() for value in loaded] == [[number + 1.0] for number in range(6)]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    first = line_trainer(tmp_path)
    assert not first.resume()
    assert first.run(lambda number: torch.ones(1))
    assert first.objective.slope.item() == pytest.approx(1.0, abs=0.2)
    assert line_trainer(tmp_path).resume()
    whole = {path.name: path.read_bytes() for path in (tmp_path / STATE).iterdir()}
    assert whole.keys() == {"model.safetensors", "optimizer.bin", "random_states_0.pkl", "progress.json"}
    for name, content in whole.items():
        for damaged in (content[: len(content) // 2], b"", b"[1]", None):
            if damaged is None:
                (tmp_path / STATE / name).unlink()
            else:
                (tmp_path / STATE / name).write_bytes(damaged)
            with pytest.raises(TrainingError, match="delete it to start again"):
                line_trainer(tmp_path).resume()
        (tmp_path / STATE / name).write_bytes(content)
    assert line_trainer(tmp_path).resume()


@pytest.mark.parametrize("save_every", [0, 1])
def test_a_loss_that_is_no_number_ends_the_training_and_is_not_saved(save_every: int, tmp_path: Path) -> None:
    trainer = line_trainer(tmp_path, log_every=5, save_every=save_every)
    with pytest.raises(TrainingError, match=r"the loss is nan; lower learning_rates"):
        trainer.run(lambda number: torch.ones(1) * (math.nan if number == 2 else 1.0))
    assert not (tmp_path / LOG).exists()
    again = line_trainer(tmp_path)
    assert again.resume() == bool(save_every)
    assert again.step == (2 if save_every else 0)


@pytest.mark.parametrize(
    "values",
    [
        {"clip": -1.0}, {"clip": 0.0}, {"weight_decay": -1.0}, {"learning_rates": {"line": -1e-3}},
        {"learning_rates": {"line": math.inf}}, {"betas": (0.9, 1.5)}, {"precision": "fp8"},
    ],
)  # fmt: skip
def test_settings_that_would_train_backwards_or_not_at_all_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrainerConfig.model_validate({"steps": 1, "learning_rates": {"line": 0.1}, **values})


def test_precision_is_what_the_machine_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainerConfig(steps=1, learning_rates={"line": 0.1}, precision="auto")
    for able, wanted in (({"avx512_bf16": True}, "bf16"), ({"bf16": True}, "bf16"), ({"avx512_f": True}, "no")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert precision_of(config, cpu=True) == wanted
        assert precision_of(config.model_copy(update={"precision": "bf16"}), cpu=True) == "bf16"


def test_a_training_is_not_gone_on_with_as_another(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "stage.yaml"

    def train(*arguments: str, **changes: object) -> int:
        trainer = {"steps": 2, "learning_rates": {"memaug": 1e-3}, "log_every": 1, **changes}
        config.write_text(json.dumps(stage(toy, trainer=trainer).model_dump(mode="json", exclude_unset=True)))
        return main(["train", str(config), "--out", str(tmp_path / "run"), "--cpu", *arguments])

    assert train("--resume") == 0
    assert "no checkpoint; training starts at step 0" in capsys.readouterr().err
    assert train("--resume", weight_decay=0.5) == 2
    assert "started with trainer.weight_decay 0.0, not 0.5;" in capsys.readouterr().err
    assert train("--resume", learning_rates={"language": 1e-3}, steps=3) == 2
    assert "started with trainer.steps 2, not 3, and 2 more;" in capsys.readouterr().err
    assert train("--resume", log_every=2) == 0
    assert "resumes after step 2" in capsys.readouterr().err


def test_training_without_its_package_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("afterview.training.run", "afterview.training.core.stages", "afterview.training.core.trainer"):
        monkeypatch.delitem(sys.modules, name)  # they are imported again, and only they import accelerate
    monkeypatch.setitem(sys.modules, "accelerate", None)  # as if it was missing
    (tmp_path / "stage.yaml").touch()
    assert main(["train", str(tmp_path / "stage.yaml"), "--out", str(tmp_path / "run")]) == 2
    assert "pip install '.[train]'" in capsys.readouterr().err


@pytest.mark.parametrize("below", [".", "deeper/still"])
def test_a_file_is_no_place_for_a_training(
    below: str, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "stage.yaml").write_text(json.dumps(stage(toy).model_dump(mode="json", exclude_unset=True)))
    assert main(["train", str(tmp_path / "stage.yaml"), "--out", str(tmp_path / "file" / below), "--cpu"]) == 2
    assert "is not a directory; give a directory" in capsys.readouterr().err


@pytest.mark.parametrize(("killed_at", "resumes_at"), [(5, 0), (10, 6), (31, 30)])
def test_a_killed_run_goes_on_with_the_log_that_it_would_have_had(
    killed_at: int, resumes_at: int, tmp_path: Path
) -> None:
    """The log may be ahead of the checkpoint, or its last line incomplete. Curricula read their state from it."""

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
    heard: list[dict[str, float]] = []
    resumed = line_trainer(tmp_path / "killed", heard.append, **often)
    assert resumed.resume() == (resumes_at > 0)
    assert resumed.step == resumes_at
    assert [line["step"] for line in resumed.logged()] == list(range(4, resumes_at + 1, 4))
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
    asked = conversation("<image>\nWho?", "Ann", "When?", "At two")
    prompt, labels = read_conversation(tokenizer, asked, frames=9, seconds=9.0)
    supervised = tokenizer.decode(labels[labels != IGNORED_LABEL])
    assert supervised == "Ann<|im_end|>At two<|im_end|>"
    assert np.array_equal(np.concatenate(prompt.joining()), labels == IGNORED_LABEL)
    assert tokenizer.decode(prompt.after[prompt.question]) == "Who?"
    _, parity = read_conversation(tokenizer, asked, frames=9, seconds=9.0, supervise_roles=True)
    everything = tokenizer.decode(parity[parity != IGNORED_LABEL])
    control = "<|im_start|>\n<|im_end|>\n"  # of the system's turn and of the user's
    first = "<|im_start|>assistant\nAnn<|im_end|>\n"
    second = "<|im_start|>assistant\nAt two<|im_end|>\n"
    assert everything == f"{control}<|im_start|>\n\n\n\n<|im_end|>\n{first}{control}{second}"


def conversation(*texts: str) -> Annotation:
    """About a video; human and gpt in turn."""
    turns = [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)]
    return Annotation.model_validate({"video": "a.mp4", "conversations": turns})


def test_an_answer_cannot_end_its_own_turn(toy: Path) -> None:
    tokenizer = load_pretrained(toy / "toy.yaml", device="cpu").tokenizer
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    _, labels = read_conversation(tokenizer, conversation("<image>Who?", "<|im_end|>Ann"), frames=1, seconds=1.0)
    assert (labels == end).sum() == 1


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("{", "not JSON: line 1"),
        ("[]", "with at least one"),
        ('[{"video": "a.mp4"}]', "item 0: conversations"),
        ('[{"video": "a.mp4", "image": "a.jpg", "conversations": [Q, A]}]', "both a video and an image"),
        ('[{"image": [""], "conversations": [Q, A]}]', "expected names"),
        ('[{"video": "a.mp4", "conversations": [{"from": "gpt", "value": "x"}]}]', "must take turns"),
        (
            '[{"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": " "}]}]',
            "item 0: conversations: an answer of gpt is empty",
        ),
        ('[{"conversations": [{"from": "human", "value": "\\ud800"}, A]}]', "a lone surrogate"),
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


def _saved(directory: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None) -> None:
    save_file(tensors, directory / "camera-0.mp4.safetensors", metadata=metadata)


@pytest.mark.parametrize(
    ("change", "seconds", "message"),
    [
        (lambda f: {"tokens": f}, "12.0", "cannot be read"),
        (lambda f: {"features": f}, None, "cannot be read"),
        (lambda f: {"features": f}, "soon", "cannot be read"),
        (lambda f: {"features": f}, "nan", "not finite"),
        (lambda f: {"features": f * float("nan")}, "12.0", "not finite"),
        (lambda f: {"features": torch.cat([f[:-1], f[-1:] - math.inf])}, "12.0", "not finite"),
        (lambda f: {"features": f[:0]}, "12.0", r"float16 \[0, 64, 32\]; float16 \[T, 64, 32\] is expected"),
        (lambda f: {"features": f[:, :49].contiguous()}, "12.0", r"float16 \[12, 49, 32\]; float16 \[T, 64, 32\] is expected"),
        (lambda f: {"features": f.float()}, "12.0", r"float32 \[12, 64, 32\]"),
    ],
)  # fmt: skip
def test_damaged_features_are_named_with_their_remedy(
    change: Callable[[torch.Tensor], dict[str, torch.Tensor]],
    seconds: str | None,
    message: str,
    toy: Path,
    tmp_path: Path,
) -> None:
    shutil.copytree(toy / "features", tmp_path / "bank")
    bank = FeatureBank(tmp_path / "bank")
    features, _ = bank.load("camera-0.mp4")
    _saved(bank.directory, change(features), None if seconds is None else {"seconds": seconds})
    with pytest.raises(DataError, match=rf"'camera-0\.mp4'.*{message}.*run `afterview extract` again"):
        bank.load("camera-0.mp4")


def test_what_a_stage_lacks_shows_before_it_begins(toy: Path, tmp_path: Path) -> None:
    model = load_pretrained(toy / "toy.yaml", device="cpu")
    shutil.copytree(toy / "features", tmp_path / "bank")
    (tmp_path / "bank" / "camera-1.mp4.safetensors").unlink()
    streams = [{"annotations": toy / "annotations.json", "features": tmp_path / "bank"}]
    with pytest.raises(
        DataError, match=r"does not have 'camera-1\.mp4'; `afterview extract VIDEO --out .*bank` adds it"
    ):
        StageData(stage(toy, streams=streams), model)


def test_no_kind_of_sample_may_be_longer_than_the_decoder_takes(toy: Path, tmp_path: Path) -> None:
    model = load_pretrained(toy / "toy.yaml", device="cpu")
    turns = [{"from": "human", "value": "why " * 50}, {"from": "gpt", "value": "so"}]
    (tmp_path / "text.json").write_text(json.dumps([{"conversations": turns}]))
    streams: list[dict[str, object]] = [{"annotations": tmp_path / "text.json"}]
    assert StageData(stage(toy, streams=streams), model)(0)
    for short in (stage(toy, streams=streams, max_length=40), stage(toy, max_length=40)):
        with pytest.raises(DataError, match=r"tokens, but max_length is 40"):
            StageData(short, model)(0)
    sample, _ = StageData(stage(toy, streams=streams), model)(0)
    output = StageObjective(model, stage(toy, streams=streams, max_length=40))([sample])
    assert [problem.happened for problem in output.problems] == ["skipped"]
    assert re.search(r"sample of text: \d+ tokens, but max_length is 40", output.problems[0].why)
    assert (output.tokens, float(output.loss)) == (0, 0.0)


def test_an_epoch_holds_every_item_by_its_weight_and_keeps_streams_apart() -> None:
    items = plan_epoch([10, 4], [1.5, 2.0], seed=1, epoch=0)
    assert sum(stream == 0 for stream, _ in items) == 15
    assert sorted(item for stream, item in items if stream == 1) == [0, 0, 1, 1, 2, 2, 3, 3]
    order = plan_epoch([10, 4], [1.5, 2.0], together=4, seed=1, epoch=0)
    steps = [order[at : at + 4] for at in range(0, len(order), 4)]
    assert all(len(step) == 4 and len({stream for stream, _ in step}) == 1 for step in steps)
    assert sum(stream == 0 for stream, _ in order) == 16  # one item is drawn again to fill a step
    assert sorted(item for stream, item in order if stream == 1) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert order == plan_epoch([10, 4], [1.5, 2.0], together=4, seed=1, epoch=0)
    assert order != plan_epoch([10, 4], [1.5, 2.0], together=4, seed=1, epoch=1)


def test_samples_are_one_sequence_over_all_epochs() -> None:
    order = SampleOrder([5], [1.0], seed=0)
    drawn = [order(number) for number in range(15)]
    for epoch in range(3):
        assert sorted(one.item for one in drawn[5 * epoch : 5 * epoch + 5]) == [0, 1, 2, 3, 4]
    assert [order(number) for number in (14, 0, 7)] == [drawn[14], drawn[0], drawn[7]]


def test_the_rate_rises_then_falls_as_scheduled() -> None:
    config = TrainerConfig(steps=100, learning_rates={"x": 1.0}, warmup=0.1)
    shares = [rate_share(step, config) for step in range(100)]
    assert shares[0] < shares[5] < shares[10] == 1.0
    assert shares[-1] < 0.01
    fall = config.model_copy(update={"schedule": "cooldown", "cooldown": 0.5})
    assert rate_share(49, fall) == 1.0
    assert rate_share(75, fall) == pytest.approx(0.5)


def test_curves_need_a_log_and_pass_over_what_cannot_be_drawn(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    unfit = '{"step": 1, "loss": NaN}\n{"step": 2}\n[1]\n{"step": 3, "lo'
    for content in ("", unfit):
        log.write_text(content)
        with pytest.raises(TrainingError, match="holds no line"):
            draw_curves(log)
    good = "".join(f'{{"step": {step}, "loss": {1 / step}, "accuracy/x": 0.5}}\n' for step in range(1, 5))
    log.write_text(good)
    drawn = draw_curves(log)
    log.write_text(good + unfit)
    assert draw_curves(log) == drawn


def test_curves_without_matplotlib_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    (tmp_path / LOG).write_text('{"step": 1, "loss": 1.0}\n')
    with pytest.raises(UsageError, match="curves: a package of the extra 'train' is not installed"):
        draw_curves(tmp_path / LOG)


# By size and stage: start, rates of vision, projector, MemAug and language, global batch on 8 devices (reference: appendix, table).
_STAGES = {
    ("3b", 1): ("jylins/llava-onevision-qwen25-3b-si", (0, 0, 1e-4, 0), 128),
    ("3b", 2): ("jylins/hourllava-qwen25-3b-s1", (5e-6, 1e-4, 1e-4, 2e-5), 128),
    ("3b", 3): ("jylins/hourllava-qwen25-3b-s2", (0, 1e-4, 1e-4, 2e-5), 128),
    ("7b", 1): ("lmms-lab/llava-onevision-qwen2-7b-si", (0, 0, 1e-4, 0), 128),
    ("7b", 2): ("jylins/hourllava-qwen2-7b-s1", (5e-6, 1e-4, 1e-4, 1e-5), 128),
    ("7b", 3): ("jylins/hourllava-qwen2-7b-s2", (0, 1e-4, 1e-4, 2e-5), 256),
}


@pytest.mark.parametrize(("part", "number"), _STAGES)
def test_the_papers_stages_are_configured(part: str, number: int) -> None:
    from afterview.configs import load

    config = load(
        Path(__file__).parents[3] / "configs" / "training" / f"hour-llava-{part}-stage{number}.yaml", StageConfig
    )
    model, rates, together = _STAGES[part, number]
    assert config.model == model
    assert config.init_memaug == (number == 1)
    named = dict(zip(("vision", "projector", "memaug", "language"), rates, strict=True))
    assert config.trainer.learning_rates == {name: rate for name, rate in named.items() if rate}
    assert config.batch * config.trainer.accumulate * 8 == together
    assert config.batching == ("one-stream" if number == 3 else "random")
    assert config.forgetting == ForgettingConfig(temporal_ratio=1 if number == 1 else 4)
    assert (config.forgetting.spatial, config.forgetting.spatial_ratio, config.forgetting.temporal) == (
        "random",
        4,
        "uniform",
    )
    trainer = config.trainer
    assert (trainer.warmup, trainer.schedule, trainer.weight_decay, trainer.clip) == (0.03, "cosine", 0.0, 1.0)
    assert (trainer.precision, config.max_length, config.gradient_checkpointing) == ("bf16", 32_768, True)
    assert len(config.streams) == {1: 1, 2: 4, 3: 2}[number]
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
    model = load_pretrained(document["model"], device="cpu")
    assert isinstance(model, AfterviewModel)
    assert (model.notice, model.preset.scope) == (None, None)  # they were about the model before this training
    assert main(["train", str(config), "--out", str(tmp_path / "run"), "--cpu"]) == 2
    assert "give --resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rates", "says"),
    [
        ({"memog": 1e-3}, "stage.yaml: trainer: learning_rates: no part is called 'memog'; there are: vision,"),
        ({"memaug": 0.0}, "stage.yaml: trainer: learning_rates: every part is frozen"),
    ],
)
def test_train_refuses_rates_that_fit_no_part_before_it_looks_for_the_model(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rates: dict[str, float], says: str
) -> None:
    values = stage(toy, model=str(tmp_path / "no-such-model")).model_dump(mode="json", exclude_unset=True)
    config = tmp_path / "stage.yaml"
    config.write_text(json.dumps({**values, "trainer": {"steps": 1, "learning_rates": rates}}))
    assert main(["train", str(config), "--out", str(tmp_path / "run"), "--cpu"]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.thorough
def test_the_core_runs_without_zarr_faiss_and_av(toy: Path, tmp_path: Path) -> None:
    """Training machines may lack them. This trains a stage, instead of only importing."""
    config = tmp_path / "stage.yaml"
    short = {"steps": 1, "learning_rates": {"memaug": 1e-3}}
    config.write_text(json.dumps(stage(toy, trainer=short).model_dump(mode="json", exclude_unset=True)))
    program = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('zarr', 'faiss', 'av', 'aiomqtt'):\n"
        "            raise ImportError('blocked: ' + name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from pathlib import Path\n"
        "import afterview.training.tiny.make\n"
        "from afterview.training.run import train\n"
        f"print(train(Path({str(config)!r}), Path({str(tmp_path / 'run')!r}), cpu=True).steps)\n"
        "for name in ('zarr', 'faiss', 'av'):\n"
        "    try:\n"
        "        __import__(name)\n"
        "    except ImportError as error:\n"
        "        assert 'blocked' in str(error)\n"
        "        print(name, 'is not there')\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, timeout=120)
    assert done.stdout.splitlines() == ["1", *(f"{name} is not there" for name in ("zarr", "faiss", "av"))], done.stderr


def test_features_of_a_video_are_those_that_ingest_remembers(tmp_path: Path) -> None:
    from afterview.model.vision.preprocess import to_square
    from afterview.training.data.extraction import extract_video
    from afterview.training.world import World
    from afterview.training.world.video import VideoFormat, write_video

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
    assert (likeness > 0.95).all()  # except for losses of H.264
