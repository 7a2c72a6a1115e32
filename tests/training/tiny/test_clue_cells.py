"""The projector learns to name clues, and changes nothing else."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from afterview.model.memaug.token_embeddings import TokenEmbeddings, order_features, time_features
from afterview.training.base.errors import TrainingError
from afterview.training.tiny.clue_cells import CELLS, ClueConfig, _codes, _pair, _silence, learn_clues
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


def features_of(gallery: Gallery, *, looks_like_a_clue: float = 0.0) -> torch.Tensor:
    """[F, 64, 128]: the first half tells the thing, in the cells of a clue the second half tells the clue. Some frames without a clue hold
    there what a clue would look like.
    """
    draw = torch.Generator().manual_seed(0)
    codes: dict[str, torch.Tensor] = {}

    def code(name: str) -> torch.Tensor:
        return codes.setdefault(name, torch.randn(64, generator=draw))

    clues = [name_of(picture.clue) for picture in gallery.pictures if picture.clue is not None]
    features = torch.zeros(FIRST_ROW + len(gallery.pictures), 64, 128)
    for row, picture in enumerate(gallery.pictures, FIRST_ROW):
        features[row, :, :64] = code(name_of(picture.thing))  # every token tells the thing
        if picture.clue is not None:
            features[row, list(CELLS), 64:] = code(name_of(picture.clue))
        elif torch.rand(1, generator=draw) < looks_like_a_clue:
            features[row, list(CELLS), 64:] = code(clues[row % len(clues)])
    return (features + 0.1 * torch.randn(features.shape, generator=draw)).half()


def a_projector() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 32))


def marks_where_tokens_are_silent(projector: nn.Module, features: torch.Tensor) -> TokenEmbeddings:
    """Order and time lie in the twelve directions in which tokens vary least, as a model learns to keep them."""
    with torch.no_grad():
        silent_DD = torch.linalg.eigh(torch.cov(projector(features.float().flatten(0, 1)).T)).eigenvectors
        marks = TokenEmbeddings(("time", "order"), tokens_per_frame=64, vision_width=128, width=32)
        for part in (marks.time, marks.order):
            assert part is not None
            part.weight.copy_(silent_DD[:, :12] @ torch.randn(12, part.in_features) * 0.3)
    return marks


def learn(projector: nn.Module, marks: TokenEmbeddings | None, features: torch.Tensor, gallery: Gallery) -> None:
    learn_clues(projector, marks, features, gallery, ClueConfig(steps=400), seed=1, report=lambda done, total: None)


def test_the_cells_of_a_clue_name_it_and_everything_else_stays(gallery: Gallery) -> None:
    features, projector = features_of(gallery), a_projector()
    old = copy.deepcopy(projector)
    learn(projector, None, features, gallery)
    silence = _silence(old, None, features, torch.Generator().manual_seed(1))
    codes, pairs, _ = _codes(old, features, gallery, silence)
    with torch.no_grad():
        before, after = (network(features.float()) for network in (old, projector))
    change = after - before
    clued = [(row, p.clue) for row, p in enumerate(gallery.pictures, FIRST_ROW) if p.clue is not None]
    said = [int(torch.cdist(change[row, CELLS[0]][None], codes).argmin()) for row, _ in clued]
    assert sum(pairs[_pair(clue)] == number for (_, clue), number in zip(clued, said, strict=True)) > 0.9 * len(clued)
    others = torch.ones(features.shape[:2], dtype=torch.bool)
    others[[row for row, _ in clued], :] = torch.isin(torch.arange(64), torch.tensor(CELLS), invert=True)
    assert change[others].var() < 0.1 * before[others].var()


def test_codes_stay_out_of_the_directions_that_tell_time_and_order(gallery: Gallery) -> None:
    features, projector = features_of(gallery), a_projector()
    marks = marks_where_tokens_are_silent(projector, features)
    numbers = torch.arange(0, 2000, 5)
    with torch.no_grad():
        told = marks.time(time_features(numbers, torch.tensor(2000))) + marks.order(
            order_features(numbers, torch.tensor([2000]))
        )
        told = told - told.mean(0)

    def share_of_marks(codes_KD: torch.Tensor) -> float:
        """How much of what is marked lies in the directions of codes."""
        basis = torch.linalg.svd(codes_KD - codes_KD.mean(0), full_matrices=False)
        within = basis.Vh[(basis.S / basis.S[0]) > 1e-3]
        return float((told @ within.T).square().sum() / told.square().sum())

    heedless, heeding = (
        _codes(projector, features, gallery, _silence(projector, given, features, torch.Generator().manual_seed(1)))[0]
        for given in (None, marks)
    )
    assert share_of_marks(heedless) > 0.5
    assert share_of_marks(heeding) < 0.1 * share_of_marks(heedless)


def test_what_looks_like_a_clue_is_told_as_one_only_as_far_as_it_is_likely(gallery: Gallery) -> None:
    features, projector = features_of(gallery, looks_like_a_clue=0.5), a_projector()
    old = copy.deepcopy(projector)
    learn(projector, None, features, gallery)
    silence = _silence(old, None, features, torch.Generator().manual_seed(1))
    codes, _, _ = _codes(old, features, gallery, silence)
    unclued = [row for row, picture in enumerate(gallery.pictures, FIRST_ROW) if picture.clue is None]
    with torch.no_grad():
        change = (projector(features[unclued].float()) - old(features[unclued].float()))[:, list(CELLS)]
    # every second frame without a clue looks like one with one: two in three of such cells are clues, so at most two thirds are told
    told = float(change.square().sum(-1).mean() / codes.square().sum(-1).mean())
    assert 0.05 < told < (2 / 3) ** 2 / 2


def test_a_clue_that_no_picture_shows_is_named(gallery: Gallery) -> None:
    (clue, *_) = [picture.clue for picture in gallery.pictures if picture.clue is not None]
    kept = [p for p in gallery.pictures if p.clue is not None or name_of(p.thing) != name_of(clue)]
    few = replace(gallery, pictures=tuple(kept))
    features = torch.zeros(FIRST_ROW + len(kept), 64, 128).half()
    with pytest.raises(TrainingError, match=f"no picture shows the {name_of(clue)} of a clue"):
        learn_clues(nn.Linear(128, 8), None, features, few, ClueConfig(), seed=1, report=lambda done, total: None)
