"""Measures what encoding costs by dtype and batch, on random weights of a geometry, in CPU time. Loads torch."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import nn

from afterview.model.base.errors import BackendUnavailable
from afterview.model.catalogue.catalogue import Entry
from afterview.model.catalogue.encoding import EncoderCosts, EncodingCost
from afterview.model.checkpoint import init
from afterview.model.checkpoint.weights import slots_of
from afterview.model.vision.encoder_dtype import (
    ENCODER_DTYPES,
    EncoderDtype,
    convert,
    encode,
    geometry_of,
    probe_pictures,
    worst_cosine,
)
from afterview.model.vision.index_encoder import IndexEncoder, build_index_model
from afterview.model.vision.tower import KNOWN_TOWERS, VisionEncoder, build_tower

BATCHES: Final = (1, 4, 8)
LONGEST_S: Final = 20.0  # of CPU time of one batch; larger batches that would take longer are left out
_RUNS: Final = 2  # after one that warms up
_SO400M: Final = KNOWN_TOWERS["google/siglip-so400m-patch14-384"]

Encoder = VisionEncoder | IndexEncoder
Step = Callable[[str], object]  # told what is measured now


def makers(entry: Entry) -> dict[str, Callable[[], Encoder]]:
    """What a preset records with, by name of the part: encoders that can run in several dtypes. None of a bundled preset."""
    if entry.bundled:
        return {}
    parts: dict[str, Callable[[], Encoder]] = {"index encoder": base_index}
    if entry.kind == "hour-llava":
        parts["vision tower"] = so400m_tower
    return parts


def base_index() -> IndexEncoder:
    """The geometry of SigLIP and SigLIP 2 base, 224 pixels; of the text tower, which no frame needs, one layer."""
    text = {"bos_token_id": None, "eos_token_id": None, "num_hidden_layers": 1, "vocab_size": 64}
    model = build_index_model({"model_type": "siglip", "vision_config": {}, "text_config": text})
    return IndexEncoder(_drawn(model), None, name="random", weights="random")


def base_tower() -> VisionEncoder:
    """The same geometry as a vision tower: without its last layer and its head."""
    return VisionEncoder(_drawn(build_tower({"model_type": "siglip_vision_model"})), name="random", weights="random")


def so400m_tower() -> VisionEncoder:
    """The vision tower of Hour-LLaVA: SigLIP so400m, 384 pixels."""
    return VisionEncoder(_drawn(build_tower(_SO400M)), name="random", weights="random")


def measure_encoders(
    entry: Entry, *, batches: Sequence[int] = BATCHES, longest_s: float = LONGEST_S, step: Step = lambda text: None
) -> list[EncoderCosts]:
    """Measure every part of a preset. Raises BackendUnavailable where a part does not fit the memory."""
    return [
        measure_part(part, make, batches=batches, longest_s=longest_s, step=step)
        for part, make in makers(entry).items()
    ]


def measure_part(
    part: str,
    make: Callable[[], Encoder],
    *,
    batches: Sequence[int] = BATCHES,
    longest_s: float = LONGEST_S,
    step: Step = lambda text: None,
) -> EncoderCosts:
    """Measure one encoder in every dtype that this machine has, on one thread."""
    load, geometry, costs, plain = os.getloadavg()[0], "", list[EncodingCost](), None
    with torch.inference_mode(), _one_thread():
        for dtype in ENCODER_DTYPES:
            step(f"{part} in {dtype}")
            encoder = make()
            geometry = geometry or geometry_of(encoder)
            try:
                convert(encoder, dtype)
            except BackendUnavailable:
                continue  # this build of torch has no int8
            pictures = probe_pictures(encoder.spec.resolution)
            features = encode(encoder, pictures[:1])
            plain = features if plain is None else plain
            cosine = worst_cosine(features, plain)
            costs += _timed(encoder, dtype, cosine, batches, longest_s)
            del encoder
    return EncoderCosts(geometry, part, tuple(costs), round(load, 2), time.time())


def _timed(
    encoder: Encoder, dtype: EncoderDtype, cosine: float, batches: Sequence[int], longest_s: float
) -> Iterator[EncodingCost]:
    each = 0.0
    for batch in batches:
        if each * batch > longest_s:
            return
        pictures = probe_pictures(encoder.spec.resolution, batch)
        taken = []
        for number in range(_RUNS + 1):
            began = time.process_time()
            encode(encoder, pictures)
            spent = time.process_time() - began
            taken += [spent] if number or spent > longest_s / 2 else []
            if spent > longest_s / 2:
                break
        each = min(taken) / batch
        yield EncodingCost(dtype, batch, each, cosine)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Costs are of one core; threads that wait for each other would count, too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _drawn(module: nn.Module) -> Any:
    """Weights drawn as a training begins with them, so that features are as far apart as those of a trained encoder may be."""
    for name, slot in slots_of(module).items():
        slot.put(init.seeded(name, slot, 0, tower=True).read())
    return module
