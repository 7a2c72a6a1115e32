"""The first stage of the small model: its encoders learn to see."""

import torch
from torch import nn

from afterview.model.checkpoint.models import AfterviewModel
from afterview.training.tiny.bank import Bank
from afterview.training.tiny.recipe import SightConfig
from afterview.training.tiny.sight import SightBatches, SightObjective, make_texts
from afterview.training.tiny.stage import StageContext, attention_to_train_with, learn_stage


def learn_to_see(model: AfterviewModel, bank: Bank, config: SightConfig, context: StageContext) -> bool:
    """Train the tower and the index encoder from scratch. Returns whether they are done; if the deadline came first, call it again."""
    index = model.encoders.index
    torch.manual_seed(context.seed)  # seeds the objective's own layers, whatever this process did before
    objective = SightObjective(model.vision, index, naming=config.naming)
    parts = {
        "vision": [*objective.tower.parameters(), *objective.reader.parameters()],
        "index": [*objective.index.parameters(), *objective.names.parameters(), *objective.asked.parameters()],
    }
    kept = nn.ModuleDict({"tower": objective.tower, "index": objective.index})

    def batches() -> SightBatches:
        texts = make_texts(index, config.pool, context.seed, config.reword)
        sizes = {"frames": config.frames, "asked": config.texts}
        return SightBatches(bank, texts, **sizes, seed=context.seed, device=context.device)

    with attention_to_train_with(context.device, objective.tower, objective.index):
        return learn_stage(objective, parts, kept, config.trainer, context, batches)
