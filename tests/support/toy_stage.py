"""A toy stage with answers of very different lengths, and the gradient of its first step, in one process or several.

RANK=0|1 WORLD_SIZE=2 MASTER_ADDR=... MASTER_PORT=... python -m tests.support.toy_stage STAGE.json GRADIENTS.safetensors
... python -m tests.support.toy_stage STAGE.json OUT STEPS      trains the first steps of a stage into OUT
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from afterview.configs import load
from afterview.model.checkpoint.loading import load_pretrained
from afterview.training.core.lora import add_lora
from afterview.training.core.parts import parts_of
from afterview.training.core.run_configuration import keep_configuration
from afterview.training.core.stage_data import StageData
from afterview.training.core.stages import StageConfig, StageObjective
from afterview.training.core.trainer import Trainer
from afterview.training.data.features import save_features
from tests.support.presets import write_toy

RATES = {"projector": 1e-3, "memaug": 1e-3, "language": 1e-4}
ANSWERS = (
    "A",
    "A long answer with many words in it, so that it weighs more",
    "It is two",
    "No, it was never there at all",
)


def write_toy_set(root: Path, *, videos: int = 4) -> Path:
    """A preset, a bank of features, and one conversation about each video. Returns `root`."""
    spec = load_pretrained(write_toy(root), device="cpu").encoders.feature_spec
    draw = torch.Generator().manual_seed(0)
    items = []
    for number in range(videos):
        features = torch.randn(12, 64, 32, generator=draw).half()
        save_features(root / "features", f"{number}.mp4", features, 12.0, spec)
        items.append(item(f"{number}.mp4", f"What is {number}?", ANSWERS[number % len(ANSWERS)]))
    (root / "annotations.json").write_text(json.dumps(items))
    return root


def item(video: str, question: str, answer: str) -> dict[str, Any]:
    """One annotation."""
    turns = [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": answer}]
    return {"video": video, "conversations": turns}


def toy_stage(root: Path, *, trainer: dict[str, Any] | None = None, **changes: Any) -> StageConfig:
    """A stage over the set."""
    values: dict[str, Any] = {
        "name": "toy", "model": str(root / "toy.yaml"), "batch": 1, "forgetting": {"max_frames": 8, "min_frames": 2},
        "streams": [{"annotations": str(root / "annotations.json"), "features": str(root / "features")}],
        "gradient_checkpointing": False,
        "trainer": {"steps": 1, "learning_rates": RATES, "log_every": 1, "warmup": 0.0, "clip": 1e9} | (trainer or {}),
    }  # fmt: skip
    return StageConfig.model_validate(values | changes)


def first_gradients(config: StageConfig, directory: Path) -> dict[str, torch.Tensor]:
    """The gradients of the first step as the optimizer receives them, by parameter; only of the main process."""
    model = load_pretrained(config.model, device="cpu", dtype="float32")
    parts = parts_of(model.video_language, model.vision.tower)
    trainer = Trainer(StageObjective(model, config), parts, config.trainer, directory, cpu=True, batch=config.batch)
    found: dict[str, torch.Tensor] = {}

    def step() -> None:
        for name, value in model.video_language.named_parameters():
            if value.grad is not None:
                found[name] = value.grad.clone()

    trainer.optimizer.step = step
    trainer.run(StageData(config, model, processes=trainer.accelerator.num_processes), until=1)
    return found


def train_until(config: StageConfig, out: Path, step: int) -> None:
    """Train as `afterview train` does, but stop after a step, as a run that was interrupted after a save."""
    model = load_pretrained(config.model, device="cpu", dtype="float32", changes=config.ablations)
    if config.lora is not None:
        add_lora(model.video_language.language.decoder, config.lora, seed=config.trainer.seed)
    parts = parts_of(model.video_language, model.vision.tower)
    trainer = Trainer(StageObjective(model, config), parts, config.trainer, out, cpu=True, batch=config.batch)
    if trainer.accelerator.is_main_process:
        keep_configuration(config, out)
    trainer.run(StageData(config, model, processes=trainer.accelerator.num_processes), until=step)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 3:
        train_until(load(Path(sys.argv[1]), StageConfig), Path(sys.argv[2]), int(sys.argv[3]))
        torch.distributed.barrier()
        os._exit(0)  # the destructors at interpreter exit may abort
    gradients = first_gradients(load(Path(sys.argv[1]), StageConfig), Path(sys.argv[2]).parent / "run")
    if os.environ["RANK"] == "0":
        save_file(gradients, sys.argv[2])
    torch.distributed.barrier()
    os._exit(0)  # the destructors at interpreter exit may abort
