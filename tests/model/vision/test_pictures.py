"""Pictures: grids, tiles, padding and positions of the published geometry."""

import numpy as np
import pytest
import torch

from afterview.memory.plans.positions import NEWLINE
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.batch import Sample, assemble
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.prompt import Prompt, build, build_text
from afterview.model.vision.pictures import join_tiles, one_picture, padding, plan_picture, plan_pictures
from afterview.model.vision.tiles import GREY, Tiles, best_grid, pad_to_square, tile_picture
from tests.support.presets import small_model

RANDOM, UNIFORM = ForgettingConfig(spatial="random"), ForgettingConfig(spatial="uniform")


@pytest.fixture(scope="module")
def model() -> AfterviewModel:
    return small_model()


@pytest.mark.parametrize(
    ("height", "width", "grid"),
    [
        (300, 300, (1, 1)),
        (384, 768, (1, 2)),
        (768, 384, (2, 1)),
        (1080, 1920, (3, 5)),
        (4000, 500, (6, 1)),
        (9000, 9000, (6, 6)),
    ],
)
def test_best_grid(height: int, width: int, grid: tuple[int, int]) -> None:
    assert best_grid(height, width, 384) == grid


def test_tiles_stand_row_by_row_after_the_whole_picture() -> None:
    picture = np.zeros((100, 200, 3), dtype=np.uint8)
    picture[:, 100:] = 255
    tiles = tile_picture(picture, 100)
    assert (tiles.rows, tiles.columns) == (1, 2)
    assert tiles.pixels.shape == (3, 100, 100, 3)
    assert not tiles.pixels[1].any()
    assert (tiles.pixels[2] == 255).all()
    assert not tiles.pixels[0][:, :45].any()
    assert (tiles.pixels[0][:, 55:] == 255).all()


def test_padding_is_black_around_one_and_grey_around_several() -> None:
    white = np.full((100, 50, 3), 255, dtype=np.uint8)
    tiles = tile_picture(white, 64)
    assert (tiles.rows, tiles.columns) == (2, 1)
    whole = tiles.pixels[1:].reshape(128, 64, 3)
    assert (whole[:, 32] == 255).all()
    square = pad_to_square(white, 100)
    assert (square[:, :20] == GREY).all()
    assert (square[:, 45:55] == 255).all()


def test_joining_cuts_the_padding_and_scales_large_grids_down() -> None:
    side = 27
    tokens = torch.arange(2 * side * side, dtype=torch.float32).view(2, side * side, 1)
    grid = join_tiles(tokens, Tiles(np.empty(0), rows=1, columns=2, height=400, width=800))
    assert grid.shape == (27, 54, 1)
    assert grid[0, 27, 0] == side * side  # the right tile starts at its own first patch
    high = join_tiles(tokens[:, :, :], Tiles(np.empty(0), rows=2, columns=1, height=800, width=200))
    assert high.shape == (54, 27 - 2 * ((27 - int(200 * (54 / 800))) // 2), 1)
    large = torch.zeros(36, side * side, 1)
    square = join_tiles(large, Tiles(np.empty(0), rows=6, columns=6, height=3000, width=3000))
    times = (162 * 162 / (9 * 729)) ** 0.5
    assert square.shape == (int(162 // times), int(162 // times), 1)
    nearly = join_tiles(torch.zeros(9, side * side, 1), Tiles(np.empty(0), 3, 3, 1000, 1000))
    assert nearly.shape == (81, 81, 1)  # nine tiles are not too many


def test_padding_of_grids() -> None:
    assert padding(54, 54, 100, 200) == (13, 0)
    assert padding(54, 54, 200, 100) == (0, 13)
    assert padding(54, 54, 100, 100) == (0, 0)


def test_one_picture_positions() -> None:
    layout = plan_picture(27, 40, 54, RANDOM, seed=1)
    keys, ids = layout.key_tokens(), layout.key_position_ids()
    assert len(keys) == len(ids) == 729 + 40 * 55
    assert (ids[keys == NEWLINE] == 40 * 54).all()
    np.testing.assert_array_equal(ids[729:][keys[729:] != NEWLINE], np.arange(40 * 54))
    assert (keys[729 + 54 :: 55] == NEWLINE).all()
    base = ids[:729].reshape(27, 27)
    assert base[0, 0] == 0
    assert base[0, 1] == 2  # 54 columns over 27: every second one
    assert base[1, 0] == 54  # row floor(40 / 27)
    queries = layout.query_tokens()
    assert (queries < 729).sum() - (queries == NEWLINE).sum() == 183  # ceil(729 / 4)
    assert (queries >= 729).sum() == 540  # 40 * 54 / 4
    assert (queries == NEWLINE).sum() == 40
    assert np.isin(layout.query_position_ids(), ids).all()
    places = dict(zip(keys.tolist(), ids.tolist(), strict=True))
    assert [places[token] for token in queries.tolist()] == layout.query_position_ids().tolist()


def test_one_picture_draws_anew_by_seed_only() -> None:
    first, again, other = (plan_picture(27, 30, 30, RANDOM, seed=seed).query_tokens() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_several_pictures_positions() -> None:
    layout = plan_pictures(3, 27, RANDOM, seed=0)
    keys, ids = layout.key_tokens(), layout.key_position_ids()
    assert len(keys) == 3 * 730
    np.testing.assert_array_equal(ids[keys != NEWLINE], np.arange(3 * 729))
    assert ids[keys == NEWLINE].tolist() == [3 * 729] * 3
    assert len(layout.query_tokens()) == 3 * (183 + 1)
    firsts = [layout.query_tokens()[i * 184 : i * 184 + 183] - i * 729 for i in range(3)]
    assert not np.array_equal(firsts[0], firsts[1])
    assert all((f >= 0).all() and (f < 729).all() for f in firsts)
    assert len(plan_pictures(2, 27, UNIFORM, seed=0).query_tokens()) == 2 * (196 + 1)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_pictures_and_text_through_the_public_call(model: AfterviewModel) -> None:
    network, question = model.video_language, "What is it?"
    prompt, alone = build(model.tokenizer, question), build_text(model.tokenizer, question)
    text = len(prompt.before) + len(prompt.after)
    one, two = picture(90, 150), picture(64, 64, 1)
    tokens, layout = one_picture(one, model.vision, network.projector, model.preset.forgetting)
    single = model.picture_inputs(question, [one])
    torch.testing.assert_close(single.inputs_embeds, network.image_inputs(tokens, layout, prompt).inputs_embeds)
    assert single.visual == ((len(prompt.before), len(layout.query_tokens())),)
    assert single.frame_weights is None
    several = model.picture_inputs(question, [one, two])
    assert len(several.inputs_embeds) == text + 2 * 17
    assert model.picture_inputs(question).inputs_embeds.shape == (len(alone.before), 128)
    answers = ["".join(model.answer(given, max_new_tokens=6)) for given in (single, several)]
    assert answers == ["".join(model.answer(given, max_new_tokens=6)) for given in (single, several)]
    turned = model.picture_inputs(question, [one[:, ::-1]])
    assert not torch.equal(turned.inputs_embeds, single.inputs_embeds)
    assert torch.equal(turned.inputs_embeds[: len(prompt.before)], single.inputs_embeds[: len(prompt.before)])


def test_text_alone_in_training_keeps_every_parameter_in_the_graph(model: AfterviewModel) -> None:
    network = model.video_language.requires_grad_(True)
    tokens, layout = one_picture(np.zeros((64, 64, 3), np.uint8), model.vision, network.projector, UNIFORM)
    prompt = Prompt(np.arange(4), np.arange(3))
    batch = assemble(network, [Sample(tokens, layout, prompt, text_only=True)])
    torch.testing.assert_close(batch.inputs_embeds[0].detach(), network.text_inputs(prompt).inputs_embeds)
    network.language(batch.inputs_embeds).sum().backward()
    assert all(parameter.grad is not None for parameter in network.memaug.parameters())
    assert not any(parameter.grad.any() for parameter in network.memaug.parameters())
    network.requires_grad_(False)
