"""Measures how fast this machine runs a preset's geometry. Weights are random: speed does not depend on their values. Loads torch.

The vision tower and the index encoder run whole. Of the decoder a few layers run, and a part of its vocabulary; the rest is scaled from
them, because the whole of a large one may not fit this machine's memory.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from afterview.model.base.errors import BackendUnavailable
from afterview.model.catalogue.catalogue import EncoderShape, Entry, LanguageShape
from afterview.model.catalogue.measured import Speed
from afterview.model.checkpoint.loading import choose_target, load_encoders
from afterview.model.checkpoint.weights import Target, slots_of
from afterview.model.language.decoder import build_decoder
from afterview.model.vision.clip_encoder import ClipEncoder
from afterview.model.vision.index_encoder import IndexEncoder, build_index_model
from afterview.model.vision.tower import KNOWN_TOWERS, VisionEncoder, build_tower
from afterview.model.vision.umt import UmtGeometry

LAYERS, ROWS = 2, 16_384  # of the decoder and its vocabulary that run
READ_TOKENS, ANSWER_TOKENS = 512, 8
_LONGEST_S = 20.0  # of each part
_REPEATS = 3
_TOWER = "google/siglip-so400m-patch14-384"

Step = Callable[[str], object]  # told what is measured now


def measure(name: str, entry: Entry, *, device: str | None = None, step: Step = lambda text: None) -> Speed:
    """Measure a preset's geometry. Raises BackendUnavailable, also where a part does not fit the memory of the device."""
    load = os.getloadavg()[0]
    target = choose_target(device, None)
    with torch.inference_mode(), _fitting(name, target):
        if entry.bundled:
            step("encoders")
            encode_s = _time_bundled(name, target)
        elif entry.encoder is not None:
            step("image encoder")
            encode_s = _time_encoder(entry.encoder, target)
        else:
            step("vision tower")
            encode_s = _time_vision(entry, target)
            step("index encoder")
            encode_s += _time_index(target)
            step("decoder")
        read, answer = (None, None) if entry.language is None else _time_decoder(entry.language, target)
    layers = 0 if entry.language is None else entry.language.layers
    return Speed(
        encode_s_per_frame=encode_s,
        read_tokens_per_s=read,
        answer_tokens_per_s=answer,
        decoder_layers_run=min(LAYERS, layers),
        decoder_layers=layers,
        device=torch.cuda.get_device_name(target.device) if target.device.type == "cuda" else "cpu",
        dtype=str(target.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        load=round(load, 2),
        at=time.time(),
    )


@contextmanager
def _fitting(name: str, target: Target) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch raises RuntimeError for a CPU without room
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise BackendUnavailable(
            f"{name}: its vision tower, or a part of its decoder, does not fit the free memory of {target.device}; close other programs"
        ) from None


def _time_bundled(name: str, target: Target) -> float:
    """Seconds per frame of a model that is here in any case."""
    encoders = load_encoders(name, device=target.device, dtype=target.dtype)
    frames = _frames(1, encoders.vision.spec.resolution)
    pictures = _frames(1, encoders.index.spec.resolution)
    return _median_s(lambda: (encoders.vision.encode(frames), encoders.index.encode_images(pictures)), target)


def _time_vision(entry: Entry, target: Target) -> float:
    """Seconds per frame."""
    if entry.kind == "videochat-flash":
        tower = build_tower(UmtGeometry(1024, 23, entry.resolution or 224).document())
        encoder: VisionEncoder = ClipEncoder(_filled(tower, target), name="random", weights="random")
    else:
        encoder = VisionEncoder(_filled(build_tower(KNOWN_TOWERS[_TOWER]), target), name="random", weights="random")
    frames = _frames(encoder.spec.frames_per_record, encoder.spec.resolution)
    return _median_s(lambda: encoder.encode(frames), target) / len(frames)


def _time_index(target: Target) -> float:
    """Seconds per frame of google/siglip-base-patch16-224: the default values of the configuration."""
    values = {"model_type": "siglip", "vision_config": {}, "text_config": {"bos_token_id": None, "eos_token_id": None}}
    encoder = IndexEncoder(_filled(build_index_model(values), target), None, name="random", weights="random")
    frames = _frames(1, encoder.spec.resolution)
    return _median_s(lambda: encoder.encode_images(frames), target)


def _time_encoder(shape: EncoderShape, target: Target) -> float:
    """Seconds per frame of an image-text encoder. The text tower is as large as needed to build the model: no frame passes it."""
    tower = {
        "hidden_size": shape.width, "num_hidden_layers": shape.layers, "intermediate_size": shape.mlp_width,
        "num_attention_heads": shape.width // 64,
    }  # fmt: skip
    text = {**tower, "num_hidden_layers": 1, "vocab_size": 8, "bos_token_id": None, "eos_token_id": None}
    vision = {**tower, "image_size": shape.resolution, "patch_size": shape.patch}
    built = build_index_model({"model_type": "siglip", "vision_config": vision, "text_config": text})
    encoder = IndexEncoder(_filled(built, target), None, name="random", weights="random")
    frames = _frames(1, encoder.spec.resolution)
    return _median_s(lambda: encoder.encode_images(frames), target)


def _time_decoder(shape: LanguageShape, target: Target) -> tuple[float, float]:
    """Tokens per second of reading a prompt, and of an answer."""
    layers, rows = min(LAYERS, shape.layers), min(ROWS, shape.vocabulary)
    decoder = _filled(
        build_decoder(
            {
                "vocab_size": rows, "hidden_size": shape.width, "intermediate_size": shape.mlp_width,
                "num_hidden_layers": layers, "num_attention_heads": shape.heads,
                "num_key_value_heads": shape.key_value_heads, "tie_word_embeddings": False,
            },
            qwen3=False,
        ),
        target,
    )  # fmt: skip
    prompt = torch.zeros(1, READ_TOKENS, shape.width, device=target.device, dtype=target.dtype)
    one = prompt[:, :1]

    def answer() -> None:
        cache = decoder.model(inputs_embeds=prompt[:, :64], use_cache=True).past_key_values
        for _ in range(ANSWER_TOKENS):
            decoder.model(inputs_embeds=one, past_key_values=cache, use_cache=True)

    read_s = _median_s(lambda: decoder.model(inputs_embeds=prompt, use_cache=True), target) * shape.layers / layers
    first_s = _median_s(lambda: decoder.model(inputs_embeds=prompt[:, :64], use_cache=True), target)
    layers_s = max(1e-9, _median_s(answer, target) - first_s) / ANSWER_TOKENS * shape.layers / layers
    head_s = _median_s(lambda: decoder.lm_head(one), target) * shape.vocabulary / rows
    return READ_TOKENS / read_s, 1 / (layers_s + head_s)


def _filled(module: Any, target: Target) -> Any:
    """Random weights in place of the meta device's; buffers stay."""
    for slot in slots_of(module).values():
        slot.put((torch.randn(slot.shape, device=target.device) * 0.02).to(target.dtype))
    return module.to(target.device)


def _frames(count: int, side: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def _median_s(act: Callable[[], object], target: Target) -> float:
    """Median of a few runs after one that warms up; fewer where a run takes long."""
    began, taken = time.monotonic(), list[float]()
    for number in range(_REPEATS + 1):
        started = time.perf_counter()
        act()
        if target.device.type == "cuda":
            torch.cuda.synchronize(target.device)
        if number or time.monotonic() - began > _LONGEST_S:
            taken.append(time.perf_counter() - started)
        if taken and time.monotonic() - began > _LONGEST_S:
            break
    return sorted(taken)[len(taken) // 2]
