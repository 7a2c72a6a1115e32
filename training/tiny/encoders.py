"""The first stages of the small model's making: its encoders learn to see; later, the index's texts alone learn wordings new to them.

Each keeps its checkpoints in a directory of its own, and is passed over once what it taught lies there as a whole.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from model.index_encoder import IndexEncoder
from model.loaded import AfterimageModel
from training.tiny.bank import Bank
from training.tiny.recipe import SightConfig
from training.tiny.sight import SightBatches, SightLearner, TextLearner, make_texts
from training.trainer import Trainer

ENCODE_BATCH: Final = 2048  # frames
_FINISHED = "learnt.safetensors"


@dataclass(frozen=True)
class Sitting:
    """Where a stage keeps what it learns, the seed of what it draws, on which device, and time.monotonic() after which it stops."""

    directory: Path
    seed: int
    device: torch.device
    deadline: float


def learn_to_see(model: AfterimageModel, bank: Bank, config: SightConfig, sitting: Sitting) -> bool:
    """Tower and index from nothing. Returns whether they are done; where the deadline came first, call it again."""
    index = model.encoders.index
    learner = SightLearner(model.vision, index, naming=config.naming)
    parts = {
        "vision": [*learner.tower.parameters(), *learner.reader.parameters()],
        "index": [*learner.index.parameters(), *learner.names.parameters(), *learner.asked.parameters()],
    }
    kept = nn.ModuleDict({"tower": learner.tower, "index": learner.index})
    with attention_to_train_with(sitting.device, learner.tower, learner.index):
        return _learn(learner, parts, kept, config, sitting, lambda: _batches(bank, index, config, sitting))


def learn_to_read(model: AfterimageModel, bank: Bank, config: SightConfig, sitting: Sitting) -> bool:
    """The index's texts; embeddings of frames stay what memories hold. Returns as learn_to_see does."""
    index = model.encoders.index
    index.model.requires_grad_(False)
    kept = index.model.text_model.requires_grad_(True)

    def batches() -> SightBatches:
        with torch.inference_mode():
            embeddings = torch.cat([index.image_embeddings(part) for part in _in_parts(bank.pixels)])
        return _batches(bank, index, config, sitting, embeddings.clone())

    with attention_to_train_with(sitting.device, index.model):
        return _learn(TextLearner(index), {"index": list(kept.parameters())}, kept, config, sitting, batches)


def _batches(
    bank: Bank, index: IndexEncoder, config: SightConfig, sitting: Sitting, embeddings: Tensor | None = None
) -> SightBatches:
    texts = make_texts(index, config.pool, sitting.seed)
    sizes = {"frames": config.frames, "asked": config.texts}
    return SightBatches(bank, texts, **sizes, seed=sitting.seed, device=sitting.device, embeddings=embeddings)


def _learn(
    learner: nn.Module,
    parts: Mapping[str, list[nn.Parameter]],
    kept: nn.Module,
    config: SightConfig,
    sitting: Sitting,
    batches: Callable[[], SightBatches],
) -> bool:
    """Train `learner`, of which `kept` matters afterwards: rounded as it will be stored, since features must be of shipped weights."""
    finished = sitting.directory / _FINISHED
    if finished.exists():
        load_model(kept, finished, device=str(sitting.device))
        return True
    trainer = Trainer(learner, parts, config.trainer, sitting.directory, cpu=sitting.device.type == "cpu")
    trainer.resume()
    done = trainer.step >= config.trainer.steps or trainer.run(batches(), deadline=sitting.deadline)
    kept.half().float().eval().requires_grad_(False)
    if done:
        save_model(kept, str(finished))
    return done


@contextmanager
def attention_to_train_with(device: torch.device, *models: PreTrainedModel) -> Iterator[None]:
    """On a CPU the way back through PyTorch's fused attention takes a third of a step; plain products take a tenth."""
    before = [str(model.config._attn_implementation) for model in models]
    for model in models if device.type == "cpu" else ():
        model.set_attn_implementation("eager")
    yield
    for model, kind in zip(models, before, strict=True):
        model.set_attn_implementation(kind)


def _in_parts(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(pixels), ENCODE_BATCH):
        yield np.asarray(pixels[start : start + ENCODE_BATCH])
