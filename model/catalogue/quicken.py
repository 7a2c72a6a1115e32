"""Lets the encoders of a recording run in the dtype that `afterview models measure` found best on this machine. Loads torch.

Where nothing was measured they stay in float32. The weights themselves decide whether a dtype may be used: its features of a few
pictures must be within the tolerance of float32's, because a memory may hold features of both, and does not say which is which.
"""

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch

from afterview.model.base.errors import BackendUnavailable
from afterview.model.base.machine import Machine, this_machine
from afterview.model.catalogue.encoding import PLAIN, TOLERANCE, EncoderCosts, read_costs
from afterview.model.checkpoint.models import Encoders
from afterview.model.vision.encoder_dtype import (
    EncoderDtype,
    convert,
    encode,
    geometry_of,
    is_siglip,
    probe_pictures,
    worst_cosine,
)
from afterview.model.vision.index_encoder import IndexEncoder
from afterview.model.vision.tower import VisionEncoder

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chosen:
    """The dtype of one encoder, and why. worst_cosine: to float32, of these weights; None where float32 is used."""

    part: str
    dtype: str
    why: str
    worst_cosine: float | None = None


def quicken(encoders: Encoders, machine: Machine | None = None) -> list[Chosen]:
    """Change the encoders in place, and log what was chosen where that is not simply float32. On a GPU nothing changes."""
    costs = {own.geometry: own for _, own in read_costs(machine or this_machine(gpus=False))}
    parts: dict[str, VisionEncoder | IndexEncoder] = {"vision tower": encoders.vision, "index encoder": encoders.index}
    chosen = [_choose(part, encoder, costs) for part, encoder in parts.items()]
    for one in chosen:
        if one.dtype != PLAIN or one.worst_cosine is not None:
            _LOGGER.info("%s: runs in %s: %s", one.part, one.dtype, one.why)
    return chosen


def _choose(part: str, encoder: VisionEncoder | IndexEncoder, costs: Mapping[str, EncoderCosts]) -> Chosen:
    if not is_siglip(encoder):
        return Chosen(part, PLAIN, "only SigLIP encoders run in other dtypes")
    like = next((encoder.model.vision_model if isinstance(encoder, IndexEncoder) else encoder.tower).parameters())
    if like.device.type != "cpu" or like.dtype != torch.float32:
        return Chosen(part, str(like.dtype).removeprefix("torch."), "as it was loaded")
    own = costs.get(geometry_of(encoder))
    if own is None:
        return Chosen(part, PLAIN, "no other dtype was measured on this machine (`afterview models measure`)")
    pictures, worst = probe_pictures(encoder.spec.resolution), 1.0
    plain = None
    for dtype in own.ranked:
        if dtype == PLAIN:
            break
        plain = encode(encoder, pictures) if plain is None else plain
        try:
            quick = _copied(encoder, cast(EncoderDtype, dtype))
        except (BackendUnavailable, MemoryError) as error:
            return Chosen(part, PLAIN, str(error) or "no room for a second copy")
        worst = worst_cosine(encode(quick, pictures), plain)
        if worst >= TOLERANCE:
            vars(encoder).update(vars(quick))
            return Chosen(part, dtype, f"measured the cheapest here; worst cosine to float32 {worst:.5f}", worst)
    if plain is None:
        return Chosen(part, PLAIN, "measured the cheapest here")
    return Chosen(
        part,
        PLAIN,
        f"in others the features of these weights are too far off (cosine {worst:.5f}, least {TOLERANCE})",
        worst,
    )


def _copied(encoder: VisionEncoder | IndexEncoder, dtype: EncoderDtype) -> VisionEncoder | IndexEncoder:
    """A copy in another dtype. Of an index encoder the text tower is shared."""
    quick = copy.copy(encoder)
    if isinstance(quick, IndexEncoder) and isinstance(encoder, IndexEncoder):
        quick.model = copy.copy(encoder.model)
        quick.model._modules = {**encoder.model._modules, "vision_model": copy.deepcopy(encoder.model.vision_model)}
    elif isinstance(quick, VisionEncoder) and isinstance(encoder, VisionEncoder):
        quick.tower = copy.deepcopy(encoder.tower)
    convert(quick, dtype)
    return quick
