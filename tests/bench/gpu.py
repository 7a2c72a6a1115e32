"""The published 3B geometry with random weights on a GPU: frames encoded per second, and an answer over an hour of memory.

Needs a CUDA device. Random weights cost the same time as trained ones.
"""

import statistics
import time
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from afterview.memory.plans.positions import VideoLayout, plan_layout
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.base.settings import VisualDropoutConfig
from afterview.model.checkpoint.loading import Network, build_network
from afterview.model.checkpoint.preset import ModelPreset
from afterview.model.checkpoint.published import parse_config
from afterview.model.checkpoint.sources import Sources
from afterview.model.language.prompt import Prompt
from afterview.model.language.visual_dropout import DroppingDecoder
from afterview.model.memaug.memaug import MemoryKeyValues
from afterview.model.video_language import VideoLanguageModel
from afterview.model.vision.tower import KNOWN_TOWERS, VisionEncoder
from tests.bench.memaug import timed
from tests.bench.table import Table

TOWER = "google/siglip-so400m-patch14-384"
PUBLISHED_3B = {
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
    "rope_theta": 1e6,
    "mm_vision_tower": TOWER,
    "mm_resampler_type": "memaug",
}
FRAMES, TEXT, NEW_TOKENS = 3600, 80, 64  # an hour at 1 FPS
PROMPT = Prompt(np.arange(20), np.arange(TEXT - 20), slice(40, 55))
BATCH = 64  # frames
DROPOUT = VisualDropoutConfig(kind="attention", layers=(24,), ratios=(1.0, 0.5))
NO_DROPOUT = VisualDropoutConfig(layers=(), ratios=(1.0,))

NOTE = (
    "bfloat16, random weights, one process, features in host memory. First token: projecting an hour of features, keys and values, MemAug "
    "with evidence, prefill. MemoryKeyValues kept: a further question to the same frames. For comparison: MOSS-VL-Realtime (11B, H200) "
    "publishes 1.954 s to the first token for 256 frames offline and 519 ms live; StreamForest (7B) encodes and answers 9.95 frames/s."
)


def run() -> list[Table]:
    """Takes a minute on a GPU. Without one, returns a sentence."""
    table = Table(f"3B geometry over {FRAMES:,} frames ({FRAMES * 65:,} keys)", ["what", "measured"], NOTE)
    if not torch.cuda.is_available():
        table.add("skipped", "needs a CUDA device and there is none here")
        return [table]
    network = _random_network(torch.device("cuda"))
    table.add("device", torch.cuda.get_device_name())
    table.add("weights /GiB", torch.cuda.memory_allocated() / 2**30)
    vision = VisionEncoder(network.tower, name="tower", weights="random")
    table.add(f"tower and pooling, batch {BATCH}, frames/s", _frames_per_second(vision))
    with torch.inference_mode():
        _measure_memaug(table, network.video_language)
        _measure_answer(table, network.video_language)
        _measure_dropout(table, network.video_language)
    return [table]


def _random_network(device: torch.device) -> Network:
    """All modules of the published 3B, with weights drawn on the device."""
    config = parse_config(PUBLISHED_3B, name="3B", init_memaug=False)
    sources = Sources("3B", PUBLISHED_3B, config, KNOWN_TOWERS[TOWER], {}, (), 0, lambda: None)
    network = build_network(sources, ModelPreset(name="3B", checkpoint="3B"))
    torch.manual_seed(0)
    for name, slot in network.slots.items():
        scale = 0.02 if len(slot.shape) > 1 else 0.0
        value: Tensor = torch.randn(slot.shape, device=device, dtype=torch.bfloat16) * scale
        slot.put(value + 1 if "norm" in name and name.endswith("weight") else value)
    decoder = network.video_language.language.decoder
    decoder.lm_head.weight = decoder.model.embed_tokens.weight
    modules: list[nn.Module] = [network.video_language, network.tower]
    for module in modules:
        module.to(device)
    return network


def _frames_per_second(vision: VisionEncoder) -> float:
    frames = np.random.default_rng(0).integers(0, 256, (BATCH, 384, 384, 3), dtype=np.uint8)
    vision.encode(frames)  # first-use costs
    seconds = [timed(lambda: vision.encode(frames))[1] for _ in range(5)]
    return BATCH / statistics.median(seconds)


def _measure_memaug(table: Table, network: VideoLanguageModel) -> None:
    features, layout = _features(), _layout()
    network.inputs_embeds(features[:200], _layout(200), PROMPT)  # first-use costs
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    key_values, seconds = timed(lambda: network.remember(features, layout))
    table.add("projecting, keys and values /s", seconds)
    table.add("MemAug with evidence, memory kept /s", timed(lambda: _inputs(network, key_values))[1])
    keys = sum(part.nbytes for block in key_values.blocks for part in block)
    rows = 2 * (len(layout.query_tokens()) + TEXT) * 2048 * 2
    table.add("peak, of keys + queries + outputs", (torch.cuda.max_memory_allocated() - before) / (keys + rows))


def _measure_answer(table: Table, network: VideoLanguageModel) -> None:
    _first_token(network)  # first-use costs of the decoder
    torch.cuda.reset_peak_memory_stats()
    table.add("first token /s", _first_token(network))
    key_values = network.remember(_features(), _layout())
    table.add("first token, memory kept /s", _first_token(network, key_values))
    del key_values
    _tokens_per_second(network)  # a decoding step has first-use costs of its own
    table.add("tokens/s, batch 1", _tokens_per_second(network))
    table.add("peak memory /GiB", torch.cuda.max_memory_allocated() / 2**30)


def _measure_dropout(table: Table, network: VideoLanguageModel) -> None:
    inputs, language = _inputs(network), network.language
    for label, dropout in (
        ("without", None),
        (f"with dropout {DROPOUT.kind} {DROPOUT.layers} {DROPOUT.ratios}", DROPOUT),
    ):
        language.dropping = None if dropout is None else DroppingDecoder(language.decoder.model, dropout)
        network.first_token_logits(inputs)
        table.add(
            f"prefill of {len(inputs.inputs_embeds):,} tokens {label} /s",
            timed(lambda: network.first_token_logits(inputs))[1],
        )
        if dropout is not None:
            _tokens_per_second(network)  # first-use costs
            table.add(f"tokens/s {label}", _tokens_per_second(network))
    language.dropping = DroppingDecoder(language.decoder.model, NO_DROPOUT)
    table.add("tokens/s through the same loop, nothing dropped", _tokens_per_second(network))
    language.dropping = None


def _first_token(network: VideoLanguageModel, key_values: MemoryKeyValues | None = None) -> float:
    began = time.perf_counter()
    next(network.generate(_inputs(network, key_values), max_new_tokens=1))
    return time.perf_counter() - began


def _tokens_per_second(network: VideoLanguageModel) -> float:
    stream = network.generate(_inputs(network), max_new_tokens=NEW_TOKENS)
    next(stream), next(stream)
    count, seconds = timed(lambda: sum(1 for _ in stream))
    return count / seconds


def _inputs(network: VideoLanguageModel, key_values: MemoryKeyValues | None = None) -> Any:
    return network.inputs_embeds(_features(), _layout(), PROMPT, key_values=key_values)


@cache
def _features() -> NDArray[np.float16]:
    """An hour of features, repeating 64 frames: [T, 64, 1152], half a gigabyte."""
    few = np.random.default_rng(0).standard_normal((64, 64, 1152)).astype(np.float16)
    return np.resize(few, (FRAMES, 64, 1152))


def _layout(frames: int = FRAMES) -> VideoLayout:
    return plan_layout(frames, config=ForgettingConfig())
