"""The loss of a step is the mean over all its supervised tokens, however the step is divided among batches and processes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.language.prompt import IGNORED_LABEL
from afterview.training.core.stage_data import StageData
from afterview.training.core.stages import StageObjective
from afterview.training.core.trainer import LOG
from tests.support.processes import in_two
from tests.support.toy_stage import first_gradients, toy_stage, write_toy_set

Gradients = dict[str, torch.Tensor]
DIVISIONS = ((4, 1), (2, 2), (1, 4))  # batch, accumulate


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_set(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def right(toy: Path) -> Gradients:
    """The gradient of sum(cross-entropy of every supervised token of the four samples) / their number, computed sample by sample."""
    config = toy_stage(toy)
    model = load_pretrained(config.model, device="cpu", dtype="float32")
    model.video_language.requires_grad_(True)
    objective = StageObjective(model, config)
    total, tokens = torch.zeros(()), 0
    for (example,) in (StageData(config, model)(number) for number in range(4)):
        supervised = int((example.labels != IGNORED_LABEL).sum())
        output = objective([example])
        assert output.tokens == supervised
        total, tokens = total + output.loss * supervised, tokens + supervised
    (total / tokens).backward()
    return {name: value.grad for name, value in model.video_language.named_parameters() if value.grad is not None}


def cosine(one: Gradients, two: Gradients) -> float:
    flat = [torch.cat([gradients[name].flatten() for name in sorted(one)]) for gradients in (one, two)]
    return float(functional.cosine_similarity(*flat, dim=0))


def require_close(found: Gradients, wanted: Gradients) -> None:
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-3, atol=1e-6)


def test_every_division_of_a_step_has_the_gradient_of_the_mean_over_its_tokens(
    toy: Path, right: Gradients, tmp_path: Path
) -> None:
    losses = []
    for batch, accumulate in DIVISIONS:
        out = tmp_path / f"{batch}"
        found = first_gradients(toy_stage(toy, batch=batch, trainer={"accumulate": accumulate}), out)
        require_close(found, right)
        losses.append(json.loads((out / LOG).read_text())["loss"])
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-4)


def test_the_older_mean_of_means_is_a_switch(toy: Path, right: Gradients, tmp_path: Path) -> None:
    older = {"accumulate": 4, "loss_over": "batches"}
    found = first_gradients(toy_stage(toy, batch=1, trainer=older), tmp_path)
    config = toy_stage(toy)
    model = load_pretrained(config.model, device="cpu", dtype="float32")
    model.video_language.requires_grad_(True)
    objective, batches = StageObjective(model, config), StageData(config, model)
    torch.stack([objective(batches(number)).loss for number in range(4)]).mean().backward()
    means = {name: value.grad for name, value in model.video_language.named_parameters() if name in found}
    require_close(found, means)
    assert cosine(found, right) < 0.95


@pytest.mark.slow
def test_two_processes_have_the_same_gradient(toy: Path, right: Gradients, tmp_path: Path) -> None:
    config = toy_stage(toy, batch=1, trainer={"accumulate": 2})
    (tmp_path / "stage.json").write_text(config.model_dump_json(exclude_unset=True))
    out = tmp_path / "gradients.safetensors"
    for done in in_two("-m", "tests.support.toy_stage", str(tmp_path / "stage.json"), str(out)):
        assert done.returncode == 0, done.stderr[-2000:]
    require_close(load_file(out), right)
