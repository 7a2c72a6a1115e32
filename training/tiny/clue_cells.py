"""Teaches the projector what clues show, before the lessons: the cells where a clue is then also tell it, in directions of their own.

The tower tells a clue (a linear reader of cells 14 and 22 finds its colour in 0.98 of 1,152 pictures, its shape in 0.95), but the
projector was trained on frames of one thing, and blurs it (0.89 and 0.77). In pictures with a clue these cells learn to be as before, plus
a code of the clue's colour and shape. All other tokens learn to stay as they are. The code lies where tokens hardly vary: in the
directions that tell things, nobody could say whether a colour is that of the picture's thing or of the clue.

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
_SAMPLE: Final = 20_000  # tokens that show how tokens vary
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
    codes_KD, pairs, scale = _codes(old, features, gallery, draw := torch.Generator().manual_seed(seed))
    clued = [
        (gallery.first_row + n, pairs[_pair(p.clue)]) for n, p in enumerate(gallery.pictures) if p.clue is not None
    ]
    rows, which = torch.tensor(clued).T
    has_clue = torch.zeros(len(features), dtype=torch.bool)
    has_clue[rows] = True
    cells = torch.tensor(CELLS)
    optimizer = torch.optim.AdamW(projector.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    decline = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps, pct_start=0.1, cycle_momentum=False
    )
    for step in range(1, config.steps + 1):
        one, at = (
            torch.randint(len(rows), (_CLUES,), generator=draw),
            torch.randint(len(cells), (_CLUES,), generator=draw),
        )
        seen = features[rows[one], cells[at]].float()
        told = functional.mse_loss(projector(seen), old(seen).detach() + codes_KD[which[one]]) / scale
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
def _codes(
    projector: nn.Module, features: Tensor, gallery: Gallery, draw: torch.Generator
) -> tuple[Tensor, dict[tuple[str, str], int], float]:
    """A code for each pair of colour and shape, [K, D], the pairs' numbers, and the variance of tokens. A code is as long as the mean
    difference that a pair makes where it is the thing itself.
    """
    shown: dict[tuple[str, str], list[int]] = {}
    for number, picture in enumerate(gallery.pictures):
        if picture.clue is None and picture.thing.kind == "object":
            shown.setdefault(_pair(picture.thing), []).append(gallery.first_row + number)
    wanted = {_pair(picture.clue) for picture in gallery.pictures if picture.clue is not None}
    if lacking := sorted(wanted - shown.keys()):
        raise TrainingError(f"no picture shows the {' '.join(lacking[0])} of a clue; give `pictures` more seeds")
    pairs = {pair: number for number, pair in enumerate(sorted(shown))}
    means_KCD = torch.stack(
        [torch.stack([projector(features[shown[pair], cell].float()).mean(0) for cell in CELLS]) for pair in pairs]
    )
    length = (means_KCD - means_KCD.mean(0)).norm(dim=-1).mean()
    row, cell = (torch.randint(size, (_SAMPLE,), generator=draw) for size in features.shape[:2])
    tokens = projector(features[row, cell].float())
    values = [sorted({pair[side] for pair in pairs}) for side in (0, 1)]
    still = torch.linalg.eigh(torch.cov(tokens.T)).eigenvectors[
        :, : sum(map(len, values))
    ]  # ascending: they vary least
    marks = torch.zeros(len(pairs), still.shape[1])
    for (colour, shape), number in pairs.items():
        marks[number, values[0].index(colour)] = marks[number, len(values[0]) + values[1].index(shape)] = 1.0
    return marks @ still.T * length / 2**0.5, pairs, float(means_KCD.var())


def _pair(thing: Event) -> tuple[str, str]:
    return str(thing.colour), str(thing.shape)
