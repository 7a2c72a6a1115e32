"""`evaluate cost`: figures of both papers' recipes from one function. tests/bench/test_cost.py compares the count with torch's."""

import json
from dataclasses import replace

import pytest

from afterview.cli.main import main
from afterview.model.base.settings import VisualDropoutConfig
from afterview.training.evaluation.cost import (
    DROPOUT,
    FRAMES,
    GEOMETRIES,
    RECIPES,
    RecipeCost,
    flash_tokens,
    parameters,
    recipe_costs,
)


def of(name: str, frames: int) -> RecipeCost:
    return next(cost for cost in recipe_costs([frames]) if cost.recipe == name)


def test_tokens_of_videochat_flash() -> None:
    assert [flash_tokens(frames) for frames in FRAMES] == [1024, 4096, 16_000, 57_600, 160_000]
    assert flash_tokens(600, 512) == 16 * 512
    assert flash_tokens(90, 512) == 16 * 88  # the chat takes multiples of eight


def test_tokens_per_frame_after_dropout() -> None:
    whole, dropped = (of(f"VideoChat-Flash 7B, every frame{part}", 1000) for part in ("", ", dropout of its table"))
    assert (whole.decoder_tokens_per_frame, whole.last_layer_tokens_per_frame) == (16, 16)
    assert (dropped.decoder_tokens_per_frame, dropped.last_layer_tokens_per_frame) == (16, 4)
    assert isinstance(DROPOUT, VisualDropoutConfig)
    assert dropped.decoder_tflop < 0.6 * whole.decoder_tflop


@pytest.mark.parametrize(("frames", "published"), [(64, 29.6), (256, 113.3), (1000, 519.7), (10_000, 15_786.0)])
def test_the_papers_formula_is_near_its_table(frames: int, published: float) -> None:
    cost = of("VideoChat-Flash 7B, every frame", frames)
    assert cost.published_tflop == published
    assert 1.0 < cost.formula_tflop / published < 1.3
    assert 1.5 < cost.formula_tflop / cost.decoder_tflop < 2.2


def test_parameters_are_those_of_the_published_models() -> None:
    three, seven = GEOMETRIES
    assert parameters(seven) == pytest.approx(8.676e9, rel=2e-3)
    memaug = parameters(seven) - parameters(replace(seven, blocks=0))
    assert memaug == pytest.approx(646.1e6, rel=2e-3)
    assert parameters(three) - parameters(replace(three, blocks=0)) == pytest.approx(209.8e6, rel=2e-3)


@pytest.mark.parametrize(("frames", "published"), [(64, 15.5), (256, 16.1), (1000, 18.5), (10_000, 47.4)])
def test_the_memory_of_an_answer_is_near_the_papers_table(frames: int, published: float) -> None:
    cost = of("VideoChat-Flash 7B, every frame", frames)
    assert cost.published_gb == published
    assert 0.95 < cost.inference_bytes / 1e9 / published < 1.05
    dropped = of("VideoChat-Flash 7B, every frame, dropout of its table", frames)
    assert dropped.cache_bytes < 0.7 * cost.cache_bytes
    assert dropped.published_gb is None


def test_keys_and_values_of_a_memory_count() -> None:
    hour = of("Hour-LLaVA 7B", 3600)
    assert hour.cache_bytes == 2 * 512 * 2 * (4 * hour.memory_tokens + 28 * hour.decoder_tokens)


def test_bytes_of_an_hour() -> None:
    assert of("Hour-LLaVA 7B", 64).bytes_per_hour == 3600 * 64 * 1152 * 2
    assert of("VideoChat-Flash 7B, every frame", 64).bytes_per_hour == 3600 * 16 * 1024 * 2


def test_the_command_prints_a_table_and_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "cost", "--frames", "600,3600"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("| 600 |") == shown.count("| 3,600 |") == len(RECIPES)
    assert main(["evaluate", "cost", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["costs"]) == len(RECIPES) * len(FRAMES)
    assert document["costs"][0]["recipe"] == "Hour-LLaVA 3B"
    for wrong in ("0", "many", "1,,2", "-5"):
        assert main(["evaluate", "cost", f"--frames={wrong}"]) == 2
        assert "give numbers of frames from 1" in capsys.readouterr().err
