"""The projector learns to name clues, and changes nothing else."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from afterview.training.base.errors import TrainingError
from afterview.training.tiny.clue_cells import CELLS, ClueConfig, _codes, _pair, learn_clues
from afterview.training.tiny.needle_bank import Gallery, PicturesConfig, plan_gallery
from afterview.training.world.story import Event
from afterview.training.world.vocabulary import FIRST_TRAINING_SEED

FIRST_ROW = 50


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    config = PicturesConfig(seeds=2, with_clue=60, without_clue=60, first_seed=FIRST_TRAINING_SEED + 9200)
    return plan_gallery(config, first_row=FIRST_ROW)


def name_of(thing: Event) -> str:
    return f"{thing.colour} {thing.shape}"


def test_the_cells_of_a_clue_name_it_and_everything_else_stays(gallery: Gallery) -> None:
    draw = torch.Generator().manual_seed(0)
    codes: dict[str, torch.Tensor] = {}

    def code(name: str) -> torch.Tensor:
        return codes.setdefault(name, torch.randn(64, generator=draw))

    features = torch.zeros(FIRST_ROW + len(gallery.pictures), 64, 128)
    for row, picture in enumerate(gallery.pictures, FIRST_ROW):
        features[row, :, :64] = code(name_of(picture.thing))  # every token tells the thing
        if picture.clue is not None:
            features[row, list(CELLS), 64:] = code(name_of(picture.clue))
    features = (features + 0.1 * torch.randn(features.shape, generator=draw)).half()
    projector = nn.Sequential(nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 32))
    old = copy.deepcopy(projector)
    learn_clues(projector, features, gallery, ClueConfig(steps=400), seed=1, report=lambda done, total: None)
    codes, pairs, _ = _codes(old, features, gallery, torch.Generator().manual_seed(1))
    with torch.no_grad():
        before, after = (network(features.float()) for network in (old, projector))
    change = after - before
    clued = [(row, p.clue) for row, p in enumerate(gallery.pictures, FIRST_ROW) if p.clue is not None]
    said = [int(torch.cdist(change[row, CELLS[0]][None], codes).argmin()) for row, _ in clued]
    assert sum(pairs[_pair(clue)] == number for (_, clue), number in zip(clued, said, strict=True)) > 0.9 * len(clued)
    others = torch.ones(features.shape[:2], dtype=torch.bool)
    others[[row for row, _ in clued], :] = torch.isin(torch.arange(64), torch.tensor(CELLS), invert=True)
    assert change[others].var() < 0.1 * before[others].var()


def test_a_clue_that_no_picture_shows_is_named(gallery: Gallery) -> None:
    (clue, *_) = [picture.clue for picture in gallery.pictures if picture.clue is not None]
    kept = [p for p in gallery.pictures if p.clue is not None or name_of(p.thing) != name_of(clue)]
    few = replace(gallery, pictures=tuple(kept))
    features = torch.zeros(FIRST_ROW + len(kept), 64, 128).half()
    with pytest.raises(TrainingError, match=f"no picture shows the {name_of(clue)} of a clue"):
        learn_clues(nn.Linear(128, 8), features, few, ClueConfig(), seed=1, report=lambda done, total: None)
