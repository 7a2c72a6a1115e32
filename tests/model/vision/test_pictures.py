"""Pictures: grids, tiles, padding and positions of the published geometry."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from afterview.memory.plans.positions import NEWLINE
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.base.errors import CheckpointError, InputMismatch
from afterview.model.batch import Sample, assemble
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.conversation import build, build_text
from afterview.model.language.prompt import Prompt
from afterview.model.vision.pictures import (
    join_tiles,
    nearest,
    one_picture,
    padding,
    plan_picture,
    plan_pictures,
    several_pictures,
)
from afterview.model.vision.tiles import GREY, Tiles, Tiling, best_grid, pad_to_square, tile_picture
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
    assert base[1, 0] == 2 * 54  # row round(39 / 26): halves to even
    assert base[-1, -1] == 40 * 54 - 1  # corner on corner
    queries = layout.query_tokens()
    assert (queries < 729).sum() - (queries == NEWLINE).sum() == 183  # ceil(729 / 4)
    assert (queries >= 729).sum() == 540  # 40 * 54 / 4
    assert (queries == NEWLINE).sum() == 40
    assert np.isin(layout.query_position_ids(), ids).all()
    places = dict(zip(keys.tolist(), ids.tolist(), strict=True))
    assert [places[token] for token in queries.tolist()] == layout.query_position_ids().tolist()


def test_positions_of_the_whole_picture_over_all_sizes() -> None:
    """The published call itself, for every size that unpadding and scaling leave."""
    places = {size: torch.linspace(0, size - 1, steps=27).round().long().numpy() for size in range(1, 163)}
    for size, other in [(h, w) for h in places for w in (1, 9, 27, 54, 71, 108)]:
        for height, width in ((size, other), (other, size)):
            ids = plan_picture(27, height, width, UNIFORM, seed=0).key_position_ids()[:729]
            expected = places[height][:, None] * width + places[width]
            np.testing.assert_array_equal(ids.reshape(27, 27), expected, err_msg=f"{height} x {width}")


def test_halves_fall_as_in_float32() -> None:
    """These sizes differ from a linspace in float64, of all sizes that occur."""
    odd = [h for h in range(1, 163) if not np.array_equal(nearest(h, 27), np.rint(np.linspace(0, h - 1, 27)))]
    assert odd == [8, 16, 54, 58, 62, 64, 108, 110, 116, 122]
    assert nearest(7, 1).tolist() == [0]
    assert nearest(1, 27).tolist() == [0] * 27


@pytest.mark.parametrize("size", [(108, 9), (9, 108), (40, 54), (13, 27), (1, 1)])
def test_a_newline_is_visible_after_each_row_that_keeps_a_patch(size: tuple[int, int]) -> None:
    height, width = size
    for config in (RANDOM, UNIFORM):
        for seed in range(3):
            layout = plan_picture(27, height, width, config, seed=seed)
            start = int(np.argmax(layout.query_tokens() >= 729))  # the first patch of the grid
            ids = layout.query_position_ids()[start:].tolist()
            rows: list[int] = []
            expected: list[float] = []
            for place in (i for i in ids if i != height * width):
                if rows and place // width != rows[-1]:
                    expected.append(height * width)
                rows.append(int(place // width))
                expected.append(place)
            assert ids == [*expected, height * width]
            if config is UNIFORM:
                assert len(set(rows)) == math.ceil(height / 2)
            if size == (108, 9) and config is RANDOM:
                assert 95 < len(set(rows)) < 108


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


SIZES = [
    *((int(w), int(h)) for w, h in np.random.default_rng(5).integers(1, 4000, (150, 2))),
    *((w, h) for w in (1, 383, 384, 385, 768, 1152, 2304, 2305) for h in (1, 27, 384, 500, 1921, 9000)),
]


def published_grid(width: int, height: int) -> tuple[int, int]:
    """Columns and rows, written after the published description: the most pixels shown, then the least left over."""
    best, shown_most, wasted_least = (0, 0), 0, math.inf
    for wide in range(1, 7):
        for high in range(1, 7):
            scale = min(wide * 384 / width, high * 384 / height)
            shown = min(int(width * scale) * int(height * scale), width * height)
            wasted = wide * high * 384**2 - shown
            if shown > shown_most or (shown == shown_most and wasted < wasted_least):
                best, shown_most, wasted_least = (wide, high), shown, wasted
    return best


def test_tiles_unpadding_and_scaling_over_a_sweep_of_sizes() -> None:
    """Expected from the published formulas, evaluated here."""
    for width, height in SIZES:
        columns, rows = published_grid(width, height)
        assert best_grid(height, width, 384) == (rows, columns), (width, height)
        wide, high = 27 * columns, 27 * rows
        if width / height > wide / high:
            high -= 2 * ((high - int(height * (wide / width))) // 2)
        else:
            wide -= 2 * ((wide - int(width * (high / height))) // 2)
        times = math.sqrt(high * wide / (9 * 27**2))
        if times > 1.1:
            high, wide = int(high // times), int(wide // times)
        tokens = torch.zeros(rows * columns, 729, 1)
        assert join_tiles(tokens, Tiles(np.empty(0), rows, columns, height, width)).shape == (high, wide, 1)


@pytest.mark.parametrize(
    ("width", "height"), [(640, 480), (336, 1000), (1500, 1100), (100, 90), (2000, 30), (385, 384)]
)
def test_tiles_show_what_pil_pastes_and_cuts(width: int, height: int) -> None:
    rgb = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    columns, rows = published_grid(width, height)
    scales = columns * 384 / width, rows * 384 / height
    if scales[0] < scales[1]:
        size = columns * 384, min(math.ceil(height * scales[0]), rows * 384)
    else:
        size = min(math.ceil(width * scales[1]), columns * 384), rows * 384
    canvas = Image.new("RGB", (columns * 384, rows * 384))
    canvas.paste(Image.fromarray(rgb).resize(size), ((canvas.width - size[0]) // 2, (canvas.height - size[1]) // 2))
    cut = [
        canvas.crop((x, y, x + 384, y + 384)) for y in range(0, canvas.height, 384) for x in range(0, canvas.width, 384)
    ]
    expected = np.stack([np.asarray(part) for part in (Image.fromarray(rgb).resize((384, 384)), *cut)])
    np.testing.assert_array_equal(tile_picture(rgb, 384).pixels, expected)


def test_grids_and_scaling_of_the_checkpoint_are_used() -> None:
    assert Tiling.of({}) == Tiling.of({"image_aspect_ratio": "anyres_max_9", "image_grid_pinpoints": "(1x1),...,(6x6)"})
    few = Tiling.of({"image_aspect_ratio": "anyres_max_4", "image_grid_pinpoints": [[384, 384], [768, 384]]})
    assert (few.most_tiles, few.sizes(384)) == (4, [(1, 1), (1, 2)])
    assert best_grid(400, 3000, 384, few) == (1, 2)
    assert Tiling.of({"image_aspect_ratio": "anyres", "image_grid_pinpoints": "[(384, 768)]"}) == Tiling(
        ((384, 768),), True, None
    )
    tokens = torch.zeros(2, 729, 1)
    wide = Tiles(np.empty(0), rows=1, columns=2, height=384, width=768)
    assert join_tiles(tokens, wide, 1).shape == (int(27 // 2**0.5), int(54 // 2**0.5), 1)
    assert join_tiles(tokens, wide, None).shape == (27, 54, 1)
    for config, message in (
        ({"image_aspect_ratio": "pad"}, "image_aspect_ratio 'pad' is not supported"),
        ({"image_grid_pinpoints": "many"}, "image_grid_pinpoints 'many' is neither"),
    ):
        with pytest.raises(CheckpointError, match=message):
            Tiling.of(config)
    with pytest.raises(CheckpointError, match="336 pixels, which tiles of 384 pixels do not fill"):
        best_grid(9, 9, 384, Tiling.of({"image_grid_pinpoints": [[336, 672]]}))


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
    assert len(several.inputs_embeds) == text + 1 + 2 * 17  # the newline between them
    assert several.visual == ((len(prompt.before), 17), (len(prompt.before) + 17 + 1, 17))
    assert model.picture_inputs(question).inputs_embeds.shape == (len(alone.before), 128)
    answers = ["".join(model.answer(given, max_new_tokens=6)) for given in (single, several)]
    assert answers == ["".join(model.answer(given, max_new_tokens=6)) for given in (single, several)]
    turned = model.picture_inputs(question, [one[:, ::-1]])
    assert not torch.equal(turned.inputs_embeds, single.inputs_embeds)
    assert torch.equal(turned.inputs_embeds[: len(prompt.before)], single.inputs_embeds[: len(prompt.before)])


def test_pictures_stand_at_their_tags(model: AfterviewModel) -> None:
    network, vision = model.video_language, model.vision
    pictures, question = [picture(90, 150), picture(64, 64, 1)], "A: <image> and B: <image>. What has changed?"
    inputs = model.picture_inputs(question, pictures)
    first, second = "A: ", " and B: "  # a token per byte
    opening = model.tokenizer("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n")[
        "input_ids"
    ]
    start = len(opening) + len(first)
    assert inputs.visual == ((start, 17), (start + 17 + len(second), 17))
    words = model.tokenizer(". What has changed?<|im_end|>\n<|im_start|>assistant\n")["input_ids"]
    torch.testing.assert_close(inputs.inputs_embeds[-len(words) :], network.language.embed(np.array(words)))
    # the same as a training sample, which is assembled in a batch beside another one
    prompt = build(model.tokenizer, question, pictures=2)
    tokens, layout = several_pictures(pictures, vision, network.projector, model.preset.forgetting)
    single, plan = one_picture(pictures[0], vision, network.projector, model.preset.forgetting)
    other = Sample(single, plan, build(model.tokenizer, "What?", pictures=1))
    with torch.inference_mode():
        batch = assemble(network, [Sample(tokens, layout, prompt), other])
    torch.testing.assert_close(batch.inputs_embeds[0, : batch.lengths[0]], inputs.inputs_embeds, rtol=1e-4, atol=1e-5)
    assert batch.visual[0] == inputs.visual
    for wrong, count in (("<image> or <image>?", 1), ("<image>?", 2)):
        with pytest.raises(InputMismatch, match="one tag where each goes"):
            model.picture_inputs(wrong, pictures[:count])


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
