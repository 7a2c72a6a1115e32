"""Training in two processes on one CPU equals training in one process on both batches, and the model can be sharded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from afterview.model.checkpoint.loading import load_pretrained
from afterview.training.core.parts import parameter_groups, parts_of
from afterview.training.core.stage_data import StageData
from afterview.training.core.stages import StageConfig, StageObjective
from afterview.training.core.trainer import LOG
from afterview.training.run import train_stage
from tests.support.processes import free_port
from tests.support.sharded import FSDP
from tests.training.data.test_media import ALL, data, every_stream, stage  # noqa: F401

ROOT = Path(__file__).parents[3]
WITHIN_S = 240


def losses(directory: Path) -> list[float]:
    """The loss of every step."""
    return [json.loads(line)["loss"] for line in (directory / LOG).read_text().splitlines()]


def written(config: StageConfig, path: Path) -> Path:
    """The configuration as a file."""
    path.write_text(config.model_dump_json(exclude_unset=True))
    return path


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


@pytest.mark.thorough
def test_two_processes_train_as_one_that_accumulates_their_batches(data: Path, tmp_path: Path) -> None:  # noqa: F811
    def config(accumulate: int) -> StageConfig:
        return stage(data, every_stream(data, "frames"), ALL, trainer={"steps": 3, "accumulate": accumulate})

    one = train_stage(config(2), tmp_path / "one", cpu=True)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port())]
    command = [*launch, "-m", "afterview", "train", str(written(config(1), tmp_path / "two.json")), "--cpu"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "two")], env=environment(), capture_output=True, text=True, timeout=WITHIN_S
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=2e-3)
    assert json.loads((tmp_path / "two" / "state" / "progress.json").read_text())["step"] == one.steps
    assert load_pretrained(tmp_path / "two" / "model", device="cpu").trained


@pytest.mark.thorough
@pytest.mark.parametrize(
    "dropout", [None, {"kind": "attention", "layers": [1], "ratios": [1, 0.5]}], ids=["plain", "dropout"]
)
def test_a_sharded_objective_has_the_loss_and_the_gradients_of_a_whole_one(
    dropout: dict[str, object] | None,
    data: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    config = stage(data, every_stream(data, "frames"), ALL, gradient_checkpointing=True, visual_dropout=dropout)
    path, port = written(config, tmp_path / "stage.json"), str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.sharded", str(path)],
            env=environment(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        (out, error), (_, other) = (process.communicate(timeout=WITHIN_S) for process in processes)
        assert [process.returncode for process in processes] == [0, 0], error[-2000:] + other[-2000:]
    finally:
        for process in processes:
            process.kill()
    sharded = json.loads(out)
    model = load_pretrained(config.model, device="cpu", dtype="float32", changes=config.ablations)
    parts = parts_of(model.video_language, model.vision.tower)
    parameter_groups(parts, config.trainer.learning_rates)
    objective, batches = StageObjective(model, config).train(), StageData(config, model, processes=2)
    losses_of_both = [objective(batches(rank)).loss / 2 for rank in range(2)]
    torch.stack(losses_of_both).sum().backward()
    assert sharded["loss"] == pytest.approx(float(sum(loss.detach() for loss in losses_of_both)), rel=1e-5)
    for part, values in parts.items():
        norm = sum(p.grad.double().square().sum().item() for p in values if p.grad is not None) ** 0.5
        assert sharded["norms"][part] == pytest.approx(norm, rel=1e-4), part
    assert sharded["layers"] == 2


def test_accelerate_takes_the_sharding_configuration() -> None:
    from accelerate.commands.config.config_args import ClusterConfig
    from accelerate.commands.launch import launch_command_parser

    config = ClusterConfig.from_yaml_file(FSDP)
    assert config.distributed_type == "FSDP"
    known = launch_command_parser().parse_args(["program.py"])  # accelerate ignores unknown keys
    chosen = config.fsdp_config
    assert [name for name in chosen if not hasattr(known, name)] == []
    assert chosen == yaml.safe_load(FSDP.read_text())["fsdp_config"]
    layer = chosen["fsdp_transformer_layer_cls_to_wrap"]
    decoder = load_pretrained("tiny", device="cpu").video_language.language.decoder
    assert layer in {type(module).__name__ for module in decoder.modules()}
