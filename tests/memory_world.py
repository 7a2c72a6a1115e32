"""Small made-up frames for tests of the memory."""

import numpy as np
from numpy.typing import NDArray

from memory.coarse import coarsen, spread
from memory.quantised import dequantise, quantise
from memory.records import FrameRecord
from memory.spec import FeatureSpec, IndexSpec, Storage, TokenSpec

START = 1_700_000_000.0


def make_spec(
    *, width: int = 6, cells: int = 4, weights: str = "sha256:aa", storage: Storage = "float16"
) -> FeatureSpec:
    spec = FeatureSpec(
        model="made-up",
        tokens=TokenSpec(encoder="tower", weights=weights, resolution=8, tokens_per_frame=cells, width=width),
        index=IndexSpec(encoder="pair", weights="sha256:bb", resolution=8, width=5),
    )
    return spec.stored_as(storage)


def make_frame(number: int, spec: FeatureSpec, *, time: float | None = None) -> FrameRecord:
    """Frame `number` of a made-up video: the same content whenever it is made."""
    random = np.random.default_rng(number)
    embedding = random.standard_normal(spec.index.width).astype(np.float32)
    when = START + number if time is None else time
    return FrameRecord(
        time=when,
        arrival_time=when + 0.25,
        source_time=when - 0.5 if number % 3 else float("nan"),
        image=random.bytes(20 + number % 7),
        tokens=random.standard_normal((spec.tokens.tokens_per_frame, spec.tokens.width)).astype(spec.tokens.dtype),
        embedding=embedding / np.linalg.norm(embedding),
    )


def kept_frame(number: int, spec: FeatureSpec, *, time: float | None = None) -> FrameRecord:
    """The same frame as a memory of this spec gives it back."""
    return make_frame(number, spec, time=time).stored_as(spec.tokens.storage)


def coarse_tokens(number: int, spec: FeatureSpec) -> NDArray[np.generic]:
    """Its tokens as the memory gives them back once the frame is coarse, [P, Dv]."""
    rows = coarsen(kept_frame(number, spec).tokens[None])
    return spread(dequantise(quantise(rows)) if spec.tokens.storage == "int8" else rows)[0]
