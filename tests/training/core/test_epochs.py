"""A stage says how long it is in steps or in epochs of its streams."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from afterview.training.base.errors import TrainingError
from afterview.training.core.checkpoints import STATE
from afterview.training.core.stages import StageConfig
from afterview.training.core.trainer import LOG, rate_share
from afterview.training.core.trainer_config import TrainerConfig
from afterview.training.run import train_stage
from tests.support.toy_stage import RATES, toy_stage, write_toy_set


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_set(tmp_path_factory.mktemp("toy"))


def by_epochs(root: Path, epochs: float, *, accumulate: int = 1, weight: float = 1.0) -> StageConfig:
    values = toy_stage(root).model_dump(mode="json", exclude_unset=True)
    values["trainer"] = {"epochs": epochs, "learning_rates": RATES, "log_every": 1, "accumulate": accumulate}
    values["streams"][0]["weight"] = weight
    return StageConfig.model_validate(values)


@pytest.mark.parametrize(
    ("epochs", "accumulate", "weight", "steps"),
    [(1, 1, 1, 4), (1.5, 2, 1, 3), (0.1, 1, 1, 1), (3, 4, 1, 3), (2, 3, 1, 3), (1, 1, 0.5, 2)],  # of four items
)
def test_epochs_are_as_many_steps_as_go_through_the_streams_so_often(
    toy: Path, tmp_path: Path, epochs: float, accumulate: int, weight: float, steps: int
) -> None:
    config = by_epochs(toy, epochs, accumulate=accumulate, weight=weight)
    assert train_stage(config, tmp_path, cpu=True).steps == steps
    rates = [json.loads(line)["rate/memaug"] for line in (tmp_path / LOG).read_text().splitlines()]
    length = TrainerConfig(steps=steps, learning_rates=RATES)  # the schedule ends with the last of them
    assert rates == pytest.approx([1e-3 * rate_share(step, length) for step in range(steps)], rel=1e-5)


def test_a_training_by_epochs_is_resumed(toy: Path, tmp_path: Path) -> None:
    config = by_epochs(toy, 1)
    assert train_stage(config, tmp_path, cpu=True).steps == 4
    progress = json.loads((tmp_path / STATE / "progress.json").read_text())
    assert progress["step"] == 4
    assert train_stage(config, tmp_path, cpu=True).steps == 4  # complete: nothing to do
    assert len((tmp_path / LOG).read_text().splitlines()) == 4


def test_one_of_steps_and_epochs_is_given(toy: Path) -> None:
    for values in ({"steps": 3, "epochs": 1.0}, {}):
        with pytest.raises(ValidationError, match="give steps, or in a stage epochs, and not both"):
            TrainerConfig.model_validate({"learning_rates": RATES, **values})
    with pytest.raises(TrainingError, match="give steps here"):
        _ = TrainerConfig(epochs=2, learning_rates=RATES).length
