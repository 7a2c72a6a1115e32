"""A training is continued in another number of processes: the global batch and the order of the samples stay."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from afterview.configs import UsageError
from afterview.training.base.errors import TrainingError
from afterview.training.core.checkpoints import STATE, accumulation, global_batch_of
from afterview.training.core.trainer import LOG
from afterview.training.run import train_stage
from tests.support.processes import in_two
from tests.support.toy_stage import toy_stage, train_until, write_toy_set

TRAINER: dict[str, Any] = {"steps": 4, "accumulate": 4}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_set(tmp_path_factory.mktemp("toy"), videos=6)


@pytest.fixture(scope="module")
def losses(toy: Path) -> list[float]:
    """Of the uninterrupted training, in one process."""
    train_stage(toy_stage(toy, trainer=TRAINER), toy / "whole", cpu=True)
    return losses_of(toy / "whole")


def losses_of(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / LOG).read_text().splitlines()]


@pytest.mark.thorough
def test_one_process_becomes_two(
    toy: Path, losses: list[float], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, out = toy_stage(toy, trainer=TRAINER), tmp_path / "out"
    train_until(config, out, 2)
    (tmp_path / "stage.json").write_text(config.model_dump_json(exclude_unset=True))
    for done in in_two(
        "-m", "afterview", "train", str(tmp_path / "stage.json"), "--out", str(out), "--cpu", "--resume"
    ):
        assert done.returncode == 0, done.stderr[-2000:]
        assert "accumulates 2 batches instead of 4, so that a step keeps its 4 samples in 2 process(es)" in done.stderr
    assert losses_of(out) == pytest.approx(losses, rel=2e-3)
    assert json.loads((out / STATE / "progress.json").read_text())["global_batch"] == 4


@pytest.mark.thorough
def test_two_processes_become_one(
    toy: Path, losses: list[float], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, out = toy_stage(toy, trainer={**TRAINER, "accumulate": 2}), tmp_path / "out"
    (tmp_path / "stage.json").write_text(config.model_dump_json(exclude_unset=True))
    for done in in_two("-m", "tests.support.toy_stage", str(tmp_path / "stage.json"), str(out), "2"):
        assert done.returncode == 0, done.stderr[-2000:]
    with caplog.at_level("INFO"):
        train_stage(config, out, cpu=True)
    assert "accumulates 4 batches instead of 2, so that a step keeps its 4 samples in 1 process(es)" in caplog.text
    assert "saved by 2 processes, continued by 1" in caplog.text
    assert losses_of(out) == pytest.approx(losses, rel=2e-3)


def test_a_step_may_be_divided_anew(toy: Path, losses: list[float], tmp_path: Path) -> None:
    train_until(toy_stage(toy, trainer=TRAINER), tmp_path, 2)
    train_stage(toy_stage(toy, batch=2, trainer={**TRAINER, "accumulate": 7}), tmp_path, cpu=True)
    assert losses_of(tmp_path) == pytest.approx(losses, rel=2e-3)


def test_what_cannot_be_divided_is_refused_and_nothing_is_to_be_deleted(toy: Path, tmp_path: Path) -> None:
    assert accumulation(128, 1, 8) == 16
    assert accumulation(128, 2, 64) == 1
    for batch, processes in ((1, 3), (3, 1), (8, 2)):
        with pytest.raises(
            UsageError, match=r"takes 8 samples per step, which .* the checkpoint stays as it is"
        ) as error:
            accumulation(8, batch, processes)
        assert "delete" not in str(error.value)
    train_until(toy_stage(toy, trainer=TRAINER), tmp_path, 2)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(
        UsageError, match=r"1 processes with batches of 3 .*\(with batches of 3: none\), or change `batch`"
    ):
        train_stage(toy_stage(toy, batch=3, trainer=TRAINER), tmp_path, cpu=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_checkpoint_of_an_earlier_version_keeps_its_global_batch_and_its_loss(
    toy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = toy_stage(toy, trainer=TRAINER)
    train_until(config, tmp_path, 2)
    progress, started = tmp_path / STATE / "progress.json", tmp_path / "config.json"
    saved, configuration = json.loads(progress.read_text()), json.loads(started.read_text())
    progress.write_text(json.dumps({"step": 2, "sums": {}, "summed": 0}))
    for key in ("loss_over",):
        del configuration["trainer"][key]
    for key in ("bad_items", "max_skipped", "truncate", "rotary"):
        del configuration[key]
    started.write_text(json.dumps(configuration))
    assert global_batch_of(tmp_path, configuration) == saved["global_batch"] == 4
    shutil.copy(tmp_path / STATE / "random_states_0.pkl", tmp_path / STATE / "random_states_1.pkl")
    assert global_batch_of(tmp_path, configuration) == 8  # two processes saved it
    with caplog.at_level("INFO"):
        assert train_stage(config, tmp_path, cpu=True).steps == 4
    assert "accumulates 8 batches instead of 4" in caplog.text
    assert "the loss stays the mean of its batches' means" in caplog.text


def test_a_sound_checkpoint_of_another_model_is_not_called_damaged(toy: Path, tmp_path: Path) -> None:
    config = toy_stage(toy, trainer={"steps": 2})
    train_until(config, tmp_path, 1)
    torch.manual_seed(0)
    other = config.model_copy(update={"memaug_depth": 1})
    (tmp_path / "config.json").unlink()
    with pytest.raises(TrainingError, match="is whole, but does not fit this training") as error:
        train_stage(other, tmp_path, cpu=True)
    assert "delete" not in str(error.value)
    (tmp_path / "config.json").unlink()
    assert train_stage(config, tmp_path, cpu=True).steps == 2
