"""The first stages of the small model's making: its encoders learn to see; later, the index's texts alone learn wordings new to them."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.index_encoder import IndexEncoder
from model.loaded import AfterimageModel
from training.tiny.bank import Bank
from training.tiny.recipe import SightConfig
from training.tiny.sight import SightBatches, SightLearner, TextLearner, make_texts
from training.tiny.stage import Sitting, attention_to_train_with, learn_stage

ENCODE_BATCH: Final = 2048  # frames


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
        return learn_stage(
            learner, parts, kept, config.trainer, sitting, lambda: _batches(bank, index, config, sitting)
        )


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
        parts = {"index": list(kept.parameters())}
        return learn_stage(TextLearner(index), parts, kept, config.trainer, sitting, batches)


def _batches(
    bank: Bank, index: IndexEncoder, config: SightConfig, sitting: Sitting, embeddings: Tensor | None = None
) -> SightBatches:
    texts = make_texts(index, config.pool, sitting.seed, config.reword)
    sizes = {"frames": config.frames, "asked": config.texts}
    return SightBatches(bank, texts, **sizes, seed=sitting.seed, device=sitting.device, embeddings=embeddings)


def _in_parts(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(pixels), ENCODE_BATCH):
        yield np.asarray(pixels[start : start + ENCODE_BATCH])
