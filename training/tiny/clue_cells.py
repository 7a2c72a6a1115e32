"""Teaches the projector what clues show, before the lessons: the cells where a clue is then also tell it, in directions of their own.

The tower tells a clue (a linear reader of cells 14 and 22 finds its colour in 0.98 of 1,152 pictures, its shape in 0.95), but the
projector was trained on frames of one thing, and blurs it (0.89 and 0.77). In pictures with a clue these cells learn to be as before, plus
a code of the clue's colour and shape. All other tokens learn to stay as they are.

The code lies where neither tokens nor what is added to them (place, time, order) varies much. In the directions that tell things, nobody
could say whether a colour is that of the picture's thing or of the clue. Where tokens alone hardly vary, the model keeps time and order:
with codes there, what was left of them in other frames varied half as much again as order does there. Such a rest now counts by the
variance of its direction. The same cells of frames without a clue count as much as those with one: otherwise an eighth of a code
was told in frames that have none.

Legend: K colour-shape pairs, C cells of clues, F frames, P tokens per frame, S spans, N key frames, D width, Dv vision width.
"""

import copy
import logging
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from afterview.configs import Schema
from afterview.model.memaug.token_embeddings import TokenEmbeddings
from afterview.model.vision.tower import GRID
from afterview.training.base.errors import TrainingError
from afterview.training.base.progress import Report
from afterview.training.tiny.needle_bank import Gallery
from afterview.training.world.story import Event

_LOGGER = logging.getLogger(__name__)

CELLS: Final = (1 * GRID + 6, 2 * GRID + 6)  # where a clue is
_CLUES: Final = 384  # tokens of clues in a step
_UNCLUED: Final = 768  # tokens where a clue could be and is not, half of them from the pictures
_OTHERS: Final = 1024
_SAMPLE: Final = 20_000  # tokens that show how tokens vary
_SPANS, _KEY_FRAMES, _SPAN = 64, 128, 2000  # spans that show how marks vary, the frames recalled of each, seconds
_KEEPING: Final = 4.0  # weight of what has to stay
_SILENT: Final = 0.5  # weight of what has to stay, counted by the variance of its direction
_FLOOR: Final = 0.05  # least variance of a direction there, in variances of tokens


@dataclass(frozen=True)
class _Silence:
    """How tokens vary together with what is added to them: variance of each direction, ascending [D], and the directions [D, D]."""

    variances_D: Tensor
    directions_DD: Tensor

    def weighted(self, errors_nD: Tensor, scale: float) -> Tensor:
        """Errors in directions that hardly vary count more. scale: variance of tokens."""
        return errors_nD @ self.directions_DD * (scale / (self.variances_D + _FLOOR * scale)).sqrt()


class ClueConfig(Schema):
    """Takes about a minute on one CPU core."""

    steps: int = 6000
    learning_rate: float = 2e-3


def learn_clues(
    projector: nn.Module,
    marks: TokenEmbeddings | None,
    features: Tensor,
    gallery: Gallery,
    config: ClueConfig,
    *,
    seed: int,
    report: Report,
) -> None:
    """Train the projector in place. marks: what is added to its tokens. features: float16 [F, P, Dv], of bank and gallery.

    Raises TrainingError if no picture shows what a clue names.
    """
    old = copy.deepcopy(projector).eval()
    projector.requires_grad_(True)
    draw = torch.Generator().manual_seed(seed)
    silence = _silence(old, marks, features, draw)
    codes_KD, pairs, scale = _codes(old, features, gallery, silence)
    clued = [
        (gallery.first_row + n, pairs[_pair(p.clue)]) for n, p in enumerate(gallery.pictures) if p.clue is not None
    ]
    rows, which = torch.tensor(clued).T
    frames = _Frames(features, rows, gallery.first_row, draw)
    optimizer = torch.optim.AdamW(projector.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    decline = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps, pct_start=0.1, cycle_momentum=False
    )

    def change(tokens: Tensor) -> Tensor:
        return projector(tokens) - old(tokens).detach()

    for step in range(1, config.steps + 1):
        one = torch.randint(len(rows), (_CLUES,), generator=draw)
        told = (change(frames.at_clues(rows[one])) - codes_KD[which[one]]).pow(2).mean() / scale
        unclued = change(frames.at_clues(frames.without_clue())).pow(2).mean() / scale
        others = change(frames.others())
        kept = others.pow(2).mean() / scale
        silent = silence.weighted(others, scale).pow(2).mean() / scale
        (told + unclued + _KEEPING * kept + _SILENT * silent).backward()
        optimizer.step()
        decline.step()
        optimizer.zero_grad()
        report(step, config.steps)
        if step % 500 == 0 or step == config.steps:
            _LOGGER.info("step %d  clues %.3g  none %.3g  others %.3g", step, told.item(), unclued.item(), kept.item())


class _Frames:
    """Draws tokens, [n, Dv]. rows: those of pictures with a clue. first_row: of the pictures."""

    def __init__(self, features_FPV: Tensor, rows: Tensor, first_row: int, draw: torch.Generator) -> None:
        self._features, self._draw, self._cells = features_FPV, draw, torch.tensor(CELLS)
        self._clued = torch.zeros(len(features_FPV), dtype=torch.bool)
        self._clued[rows] = True
        plain = (~self._clued).nonzero()[:, 0]
        self._plain = [part for part in (plain[plain < first_row], plain[plain >= first_row]) if len(part)]

    def at_clues(self, rows: Tensor) -> Tensor:
        """A token of each of these frames, of a cell where clues are."""
        cells = self._cells[self._drawn(len(self._cells), len(rows))]
        return self._features[rows, cells].float()

    def without_clue(self) -> Tensor:
        """Rows of frames without a clue: of the bank and of the pictures alike."""
        each = _UNCLUED // len(self._plain)
        return torch.cat([part[self._drawn(len(part), each)] for part in self._plain])

    def others(self) -> Tensor:
        """Tokens that tell no clue."""
        row, cell = (self._drawn(size, _OTHERS) for size in self._features.shape[:2])
        return self._features[row, cell].float()[~(self._clued[row] & torch.isin(cell, self._cells))]

    def _drawn(self, size: int, count: int) -> Tensor:
        return torch.randint(size, (count,), generator=self._draw)


@torch.no_grad()
def _silence(projector: nn.Module, marks: TokenEmbeddings | None, features: Tensor, draw: torch.Generator) -> _Silence:
    row, cell = (torch.randint(size, (_SAMPLE,), generator=draw) for size in features.shape[:2])
    together_DD = torch.cov(projector(features[row, cell].float()).T)
    if marks is None or marks.empty:
        return _Silence(*torch.linalg.eigh(together_DD))
    if marks.place is not None:
        together_DD = together_DD + torch.cov(marks.place.T)
    numbers_SN = torch.randint(_SPAN, (_SPANS, _KEY_FRAMES), generator=draw).sort().values
    means_SNV = features.new_zeros(1).float().expand(_SPANS, _KEY_FRAMES, features.shape[-1])
    of_frames = marks.of_frames(means_SNV, numbers_SN, torch.full((_SPANS, 1), _SPAN))
    if of_frames.time is not None:
        together_DD = together_DD + torch.cov(of_frames.time.flatten(0, 1).T)
    return _Silence(*torch.linalg.eigh(together_DD))


@torch.no_grad()
def _codes(
    projector: nn.Module, features: Tensor, gallery: Gallery, silence: _Silence
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
    values = [sorted({pair[side] for pair in pairs}) for side in (0, 1)]
    still = silence.directions_DD[:, : sum(map(len, values))]
    codes = torch.zeros(len(pairs), still.shape[1])
    for (colour, shape), number in pairs.items():
        codes[number, values[0].index(colour)] = codes[number, len(values[0]) + values[1].index(shape)] = 1.0
    return codes @ still.T * length / 2**0.5, pairs, float(means_KCD.var())


def _pair(thing: Event) -> tuple[str, str]:
    return str(thing.colour), str(thing.shape)
