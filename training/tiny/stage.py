"""A training stage of the small model. It has a directory for its checkpoints and is skipped once it is finished."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn
from transformers import PreTrainedModel

from afterview.memory.base.durable import replacing
from afterview.training.base.errors import TrainingError
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.core.trainer import BatchOf, Trainer
from afterview.training.core.trainer_config import TrainerConfig

_FINISHED = "learnt.safetensors"


@dataclass(frozen=True)
class StageContext:
    """Where and how a stage runs. deadline: time.monotonic() after which it stops. progress: how it is shown."""

    directory: Path
    seed: int
    device: torch.device
    deadline: float
    progress: ShowProgress = unseen


def learn_stage(
    objective: nn.Module,
    parts: Mapping[str, list[nn.Parameter]],
    kept: nn.Module,
    config: TrainerConfig,
    context: StageContext,
    batches: Callable[[], BatchOf],
) -> bool:
    """Train `objective` and save its part `kept`, rounded to the stored precision: features must be those of the shipped weights.

    Returns whether the stage is done; if the deadline came first, call it again.
    """
    finished = context.directory / _FINISHED
    if finished.exists():
        try:
            load_model(kept, finished, device=str(context.device))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise TrainingError(
                f"{finished}: is damaged, or of another model; delete it to train this stage again"
            ) from error
        return True
    trainer = Trainer(objective, parts, config, context.directory, cpu=context.device.type == "cpu")
    trainer.resume()
    done = trainer.step >= config.length
    if not done:
        with context.progress(context.directory.name, "steps", bar=False) as report:
            done = trainer.run(batches(), deadline=context.deadline, report=report)
    kept.eval().requires_grad_(False)
    # Only parameters: buffers (rotary frequencies) are not in the checkpoint and stay exact.
    for parameter in kept.parameters():
        parameter.copy_(parameter.half())
    if done:
        with replacing(finished) as partial:
            save_model(kept, str(partial))
    return done


@contextmanager
def attention_to_train_with(device: torch.device, *models: PreTrainedModel) -> Iterator[None]:
    """Use plain products for attention on a CPU: the backward pass of PyTorch's fused attention takes a third of a step, theirs a tenth."""
    before = [str(model.config._attn_implementation) for model in models]
    for model in models if device.type == "cpu" else ():
        model.set_attn_implementation("eager")
    yield
    for model, kind in zip(models, before, strict=True):
        model.set_attn_implementation(kind)
