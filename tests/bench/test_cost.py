"""The cost formula equals torch's count for a small model that answers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from afterview.memory.plans.positions import plan_layout
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.base.settings import VisualDropoutConfig
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.language.prompt import Prompt
from afterview.training.evaluation.cost import (
    TEXT,
    Geometry,
    decoder_flops,
    layer_lengths,
    question_cost,
    remember_flops,
)
from tests.support.presets import GEOMETRY, write_preset

DROPOUT = {"kind": "uniform", "layers": [1, 3], "ratios": [1.0, 0.5, 0.25]}
FRAMES = 24


@pytest.mark.parametrize("dropout", [None, DROPOUT], ids=["plain", "with dropout"])
def test_the_formula_equals_the_counter(dropout: dict[str, object] | None, tmp_path: Path) -> None:
    model = load_pretrained(write_preset(tmp_path, visual_dropout=dropout), device="cpu", dtype="float32")
    network = model.video_language
    layout = plan_layout(FRAMES, config=ForgettingConfig(spatial="uniform", min_frames=4, max_frames=6))
    prompt = Prompt(np.arange(20), np.arange(40), slice(5, 12))
    memory, visual = len(layout.key_tokens()), len(layout.query_tokens())
    features = torch.zeros(FRAMES, 64, 48)
    language = GEOMETRY["language"]
    geometry = Geometry("small", language["width"], 32, language["mlp_width"], language["layers"], 259, vision_width=48)

    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as remembered:
        kept = network.remember(features, layout)
    assert remembered.get_total_flops() == remember_flops(geometry, memory)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as asked:
        inputs = network.inputs_embeds(features, layout, prompt, key_values=kept)
    cost = question_cost(geometry, memory, visual, question=7)
    assert asked.get_total_flops() + remember_flops(geometry, memory) == cost.memaug
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as answered:
        network.first_token_logits(inputs)
    lengths = [visual + TEXT] * 4
    if dropout is not None:
        lengths = layer_lengths(geometry, visual, VisualDropoutConfig.model_validate(dropout))
        assert lengths == [visual + TEXT, visual // 2 + TEXT, visual // 2 + TEXT, visual // 4 + TEXT]
    assert answered.get_total_flops() == decoder_flops(geometry, lengths)
