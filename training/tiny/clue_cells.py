"""Teaches the projector what clues show, before the lessons: the cells where a clue is then also name it, in MemAug's words.

The tower tells a clue (a linear reader of cells 14 and 22 finds its colour in 0.98 of 1,152 pictures, its shape in 0.95), but the
projector was trained on frames of one thing, and blurs it (0.89 and 0.77). In pictures with a clue these cells learn to be as before, plus
the difference that the named thing makes elsewhere. All other tokens learn to stay as they are.

Legend: K colour-shape pairs, C cells of clues, D width.
"""

import copy
import logging
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from afterview.configs import Schema
from afterview.model.vision.tower import GRID
from afterview.training.base.errors import TrainingError
from afterview.training.base.progress import Report
from afterview.training.tiny.needle_bank import Gallery
from afterview.training.world.story import Event

_LOGGER = logging.getLogger(__name__)

CELLS: Final = (1 * GRID + 6, 2 * GRID + 6)  # where a clue is
_CLUES, _OTHERS = 384, 1024  # tokens of a step
_KEEPING: Final = 4.0  # weight of what has to stay


class ClueConfig(Schema):
    """Takes half a minute on one CPU core."""

    steps: int = 3000
    learning_rate: float = 2e-3


def learn_clues(
    projector: nn.Module, features: Tensor, gallery: Gallery, config: ClueConfig, *, seed: int, report: Report
) -> None:
    """Train the projector in place. features: float16 [F, P, Dv], of bank and gallery.

    Raises TrainingError if no picture shows what a clue names.
    """
    old = copy.deepcopy(projector).eval()
    projector.requires_grad_(True)
    named_KCD, pairs = _named(old, features, gallery)
    clued = [
        (gallery.first_row + n, pairs[_pair(p.clue)]) for n, p in enumerate(gallery.pictures) if p.clue is not None
    ]
    rows, which = torch.tensor(clued).T
    has_clue = torch.zeros(len(features), dtype=torch.bool)
    has_clue[rows] = True
    cells, draw = torch.tensor(CELLS), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(projector.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    decline = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps, pct_start=0.1, cycle_momentum=False
    )
    scale = named_KCD.var()
    for step in range(1, config.steps + 1):
        one, at = (
            torch.randint(len(rows), (_CLUES,), generator=draw),
            torch.randint(len(cells), (_CLUES,), generator=draw),
        )
        seen = features[rows[one], cells[at]].float()
        told = functional.mse_loss(projector(seen), old(seen).detach() + named_KCD[which[one], at]) / scale
        row, cell = (torch.randint(size, (_OTHERS,), generator=draw) for size in features.shape[:2])
        plain = features[row, cell].float()[~(has_clue[row] & torch.isin(cell, cells))]
        kept = functional.mse_loss(projector(plain), old(plain).detach()) / scale
        (told + _KEEPING * kept).backward()
        optimizer.step()
        decline.step()
        optimizer.zero_grad()
        report(step, config.steps)
        if step % 500 == 0 or step == config.steps:
            _LOGGER.info("step %d  clues %.3g  others %.3g", step, told.item(), kept.item())


@torch.no_grad()
def _named(projector: nn.Module, features: Tensor, gallery: Gallery) -> tuple[Tensor, dict[tuple[str, str], int]]:
    """What each pair of colour and shape makes of the cells of clues where it is the thing itself, less the mean of all, [K, C, D]."""
    shown: dict[tuple[str, str], list[int]] = {}
    for number, picture in enumerate(gallery.pictures):
        if picture.clue is None and picture.thing.kind == "object":
            shown.setdefault(_pair(picture.thing), []).append(gallery.first_row + number)
    wanted = {_pair(picture.clue) for picture in gallery.pictures if picture.clue is not None}
    if lacking := sorted(wanted - shown.keys()):
        raise TrainingError(f"no picture shows the {' '.join(lacking[0])} of a clue; give `pictures` more seeds")
    pairs = {pair: number for number, pair in enumerate(sorted(shown))}
    means = torch.stack(
        [torch.stack([projector(features[shown[pair], cell].float()).mean(0) for cell in CELLS]) for pair in pairs]
    )
    return means - means.mean(0), pairs


def _pair(thing: Event) -> tuple[str, str]:
    return str(thing.colour), str(thing.shape)
