"""Several videos in one batch give the same as each alone: MemAug's output and evidence within 1e-4, identical tokens."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from afterview.memory.plans.positions import plan_layout
from afterview.model import batch
from afterview.model.base.generation import GenerationSettings
from afterview.model.base.grouping import consecutive
from afterview.model.batch import Sample, several_inputs
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language import decoding as runs
from afterview.model.language.decoder import LanguageModel
from afterview.model.video_language import VideoInputs
from tests.model.language.test_decoder import embeds, language
from tests.support.presets import write_preset

FRAMES = (50, 131, 9)  # the published layout repeats short videos to 128 frames; the longest here has more
PUBLISHED = {  # 8 query heads on 1, as in the 3B, and the paper's forgetting; width and depth scaled down
    "vision": {"width": 32, "layers": 1, "heads": 2, "mlp_width": 64, "image_size": 64, "patch_size": 8},
    "language": {"width": 64, "layers": 3, "heads": 8, "key_value_heads": 1, "mlp_width": 96},
}
DROPOUT = {"kind": "uniform0_attention", "layers": [1, 2], "ratios": [1.0, 0.5, 0.25]}


@pytest.fixture(scope="module", params=["tiny", "published", "published, visual dropout", "published, no MemAug"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AfterviewModel:
    if request.param == "tiny":
        return load_pretrained("tiny", device="cpu")
    path = write_preset(
        tmp_path_factory.mktemp("preset"), geometry=PUBLISHED, forgetting={"spatial": "random"},
        visual_dropout=DROPOUT if "dropout" in request.param else None, use_memaug="no" not in request.param, memaug_depth=2,
    )  # fmt: skip
    return load_pretrained(path, device="cpu")


def samples(model: AfterviewModel) -> list[Sample]:
    width = model.video_language.projector.vision_width
    return [
        Sample(
            np.random.default_rng(frames).standard_normal((frames, 64, width)).astype(np.float16),
            plan_layout(frames, config=model.preset.forgetting, random_constant=frames),
            model.prompt("What colour was the box?"[: 8 + number * 5], frames=frames, seconds=float(frames)),
        )
        for number, frames in enumerate(FRAMES)
    ]


@pytest.fixture(scope="module")
def alone(model: AfterviewModel) -> list[VideoInputs]:
    """The inputs of each video alone."""
    return [model.video_language.inputs_embeds(one.features, one.layout, one.prompt) for one in samples(model)]


def test_memaug_over_several_memories(
    model: AfterviewModel, alone: list[VideoInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MEMORY_TOGETHER", 10**9)
    for expected, together in zip(alone, several_inputs(model.video_language, samples(model)), strict=True):
        torch.testing.assert_close(together.inputs_embeds, expected.inputs_embeds, rtol=1e-4, atol=1e-4)
        assert together.visual == expected.visual
        assert (together.frame_weights is None) == (expected.frame_weights is None) == (not model.preset.use_memaug)
        if expected.frame_weights is not None:
            np.testing.assert_allclose(together.frame_weights, expected.frame_weights, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("prompts", [1, 10**9], ids=["prompts one by one", "prompts together"])
def test_answers_of_several(
    model: AfterviewModel, alone: list[VideoInputs], prompts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "PROMPTS_TOGETHER", prompts)
    network = model.video_language
    expected = [list(network.generate(own, max_new_tokens=12)) for own in alone]
    several = list(network.generate_several(alone, max_new_tokens=12))
    assert [
        [token for row, token in several if row == number and token is not None] for number in range(len(FRAMES))
    ] == expected
    ends = [row for row, token in several if token is None]
    assert sorted(ends) == [0, 1, 2]  # each ends once, after its last token
    assert all(several.index((row, None)) > max(n for n, (r, t) in enumerate(several) if r == row and t is not None)
               for row in range(len(FRAMES)) if expected[row])  # fmt: skip
    pieces = list(model.answer_several(alone))
    texts = ["".join(piece for row, piece in pieces if row == number and piece) for number in range(len(FRAMES))]
    assert texts == ["".join(model.answer(own)) for own in alone]


def rows() -> list[Tensor]:
    return [embeds(tokens) * (1 + tokens / 9) for tokens in (12, 5, 20)]


def of_each(model: LanguageModel, **settings: Any) -> tuple[list[list[int]], list[list[int]]]:
    """Tokens of three prompts, together and separately."""
    several = list(model.generate_several(rows(), max_new_tokens=24, **settings))
    together = [[token for row, token in several if row == number and token is not None] for number in range(3)]
    return together, [list(model.generate(row, max_new_tokens=24, **settings)) for row in rows()]


@pytest.mark.parametrize("qwen3", [False, True])
def test_each_ends_at_its_own_end_token(qwen3: bool) -> None:
    extra = {"head_dim": 32} if qwen3 else {}
    free, _ = of_each(language(qwen3=qwen3, **extra))
    stops = tuple({free[0][9], free[1][3]})
    together, apart = of_each(language(qwen3=qwen3, stops=stops, **extra))
    assert together == apart
    assert len({len(tokens) for tokens in together}) > 1


def test_sampling_of_each_depends_on_the_seed_alone() -> None:
    together, apart = of_each(language(), seed=5, sampling=GenerationSettings(temperature=2.0))
    assert together == apart
    assert together != of_each(language(), seed=6, sampling=GenerationSettings(temperature=2.0))[0]


def test_a_decoder_with_sliding_windows_answers_one_after_the_other() -> None:
    sliding = {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 0}
    model = language(**sliding)
    together, apart = of_each(model)
    assert together == apart
    assert apart != of_each(language())[1]


def test_nothing_asked_nothing_answered() -> None:
    assert list(language().generate_several([], max_new_tokens=3)) == []


def test_groups_stay_below_the_bound_and_lose_none() -> None:
    draw = random.Random(0)
    for _ in range(200):
        sizes = [draw.randint(1, 9) for _ in range(draw.randint(0, 7))]
        groups = consecutive(sizes, 12)
        assert [place for first, end in groups for place in range(first, end)] == list(range(len(sizes)))
        for first, end in groups:
            padded = max(sizes[first:end]) * (end - first)
            assert padded <= 12 or end - first == 1
            if end < len(sizes):
                assert max(sizes[first : end + 1]) * (end + 1 - first) > 12


def test_short_memories_are_taken_in_together_and_long_ones_alone() -> None:
    assert consecutive([500, 500, 500], batch.MEMORY_TOGETHER) == [(0, 3)]
    assert consecutive([8320, 500, 500], batch.MEMORY_TOGETHER) == [(0, 1), (1, 3)]
