"""Reuse of features (--reuse-features) on real footage: the share of frames that is not encoded, and how far reused features are off."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.records import TimeBasis
from afterview.model.catalogue.measure_encoders import base_index
from afterview.model.checkpoint.loading import load_encoders
from afterview.model.vision.encoder_dtype import worst_cosine
from afterview.model.vision.preprocess import to_square
from afterview.stream.ingest.preprocess import Sampled
from afterview.stream.ingest.reuse import FeatureReuse
from tests.bench.table import Table
from tests.conftest import SHARED_VIDEOS

BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0)
_BATCH = 8

Encode = Callable[[NDArray[np.uint8]], NDArray[np.floating]]


def run() -> list[Table]:
    """Takes three minutes of CPU time."""
    tiny, siglip = load_encoders("tiny", device="cpu"), base_index()
    table = Table(
        "Reused features on real footage, at one frame a second",
        [
            "video",
            "frames",
            "bound",
            "reused",
            "tiny, index: worst",
            "tiny, tokens: mean",
            "SigLIP base: worst",
            "SigLIP base: mean",
        ],
        "Cosine between the features that a frame took and its own. tiny: as built in. SigLIP base: random weights at 224 pixels. "
        "bound `-`: each frame with the one before it, for comparison.",
    )
    for path in sorted(SHARED_VIDEOS.glob("*.mp4")):
        pictures = _one_a_second(path)
        looks: dict[str, tuple[int, Encode]] = {
            "index": (tiny.index.spec.resolution, tiny.index.encode_images),
            "tokens": (tiny.vision.spec.resolution, tiny.vision.encode),
            "siglip": (siglip.spec.resolution, siglip.encode_images),
        }
        squares = {side: np.stack([to_square(rgb, side) for rgb in pictures]) for side, _ in looks.values()}
        features = {name: _features(encode, squares[side]) for name, (side, encode) in looks.items()}
        before = [(row, row - 1) for row in range(1, len(pictures))]
        table.add(path.stem, len(pictures), "-", "-", *_cosines(features, before, before))
        for bound in BOUNDS:
            with_tiny = _reused(squares[tiny.vision.spec.resolution], squares[tiny.index.spec.resolution], bound)
            with_siglip = _reused(squares[siglip.spec.resolution], squares[siglip.spec.resolution], bound)
            share = f"{len(with_tiny) / len(pictures):.0%} (SigLIP {len(with_siglip) / len(pictures):.0%})"
            table.add(path.stem, len(pictures), f"{bound:g}", share, *_cosines(features, with_tiny, with_siglip))
    return [table]


def _one_a_second(path: Path) -> list[NDArray[np.uint8]]:
    pictures, due = list[NDArray[np.uint8]](), 0.0
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= due:
                pictures.append(frame.to_ndarray(format="rgb24").astype(np.uint8))
                due += 1.0
    return pictures


def _features(encode: Encode, squares: NDArray[np.uint8]) -> NDArray[np.floating]:
    return np.concatenate([encode(squares[row : row + _BATCH]) for row in range(0, len(squares), _BATCH)])


def _reused(tokens: NDArray[np.uint8], index: NDArray[np.uint8], bound: float) -> list[tuple[int, int]]:
    """Frames that take another's features, each with that one."""
    camera: Any = _Camera(bound)
    encoders: Any = SimpleNamespace(feature_spec=SimpleNamespace(tokens=SimpleNamespace(frames_per_record=1)))
    frames = [
        Sampled(float(row), 0.0, math.nan, TimeBasis.FILE, tokens[row], index[row], b"", encoders)
        for row in range(len(tokens))
    ]
    decided = FeatureReuse().decide([(camera, [frame]) for frame in frames])
    return [(row, int(one.reuses.frame.time)) for row, one in enumerate(decided) if one.reuses is not None]


class _Camera:
    """As much of a camera as FeatureReuse asks for."""

    def __init__(self, bound: float) -> None:
        self.config = SimpleNamespace(fps=1.0, reuse_bound=bound)


def _cosines(
    features: dict[str, NDArray[np.floating]], with_tiny: list[tuple[int, int]], with_siglip: list[tuple[int, int]]
) -> list[str]:
    def each(name: str, pairs: list[tuple[int, int]]) -> list[float]:
        return [worst_cosine(features[name][row], features[name][other]) for row, other in pairs]

    def tokens(pairs: list[tuple[int, int]]) -> list[float]:
        found = []
        for row, other in pairs:
            a, b = (features["tokens"][number].astype(np.float64) for number in (row, other))
            found.append(float(((a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))).mean()))
        return found

    index, siglip = each("index", with_tiny), each("siglip", with_siglip)
    mean_tokens = tokens(with_tiny)
    return [
        f"{min(index):.4f}" if index else "-",
        f"{np.mean(mean_tokens):.4f}" if mean_tokens else "-",
        f"{min(siglip):.4f}" if siglip else "-",
        f"{np.mean(siglip):.4f}" if siglip else "-",
    ]
