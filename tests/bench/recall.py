"""Does bounded recall find the needle? The share of needle frames that MemAug can attend to, for growing lengths of memory.

Embeddings are synthetic: scenes of ten minutes drift, frames within a scene are similar, and a question has a given
cosine with its needle. So this measures the index and the recall plan, not an encoder.
"""

import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from afterview.memory.index.frame_index import FrameIndex
from afterview.memory.plans.recall import RecallConfig, plan_recall
from afterview.memory.reading.snapshot import MemorySnapshot
from tests.bench.table import Table

WIDTH = 96
SCENE_FRAMES = 600
LENGTHS = (10_000, 100_000, 2_592_000)
NEEDLES = 200
SIMILARITIES = (0.35, 0.5, 0.7)  # cosine of a question and its needle; unrelated frames scatter with 0.1
TINY = RecallConfig(budget=96, window=16, nearest=16, neighbours=1)
PUBLISHED = RecallConfig()


@dataclass
class MadeUp:
    """The part of a snapshot that an index needs: frames without pixels and tokens."""

    vectors: NDArray[np.float32]

    def __post_init__(self) -> None:
        self.ids = np.arange(len(self.vectors), dtype=np.int64)
        self.end, self.generation, self.removed = len(self.vectors), 1, ()
        self.damaged = self.unreachable = np.empty(0, dtype=np.int64)
        self.info = SimpleNamespace(created=0.0)
        self.spec = SimpleNamespace(index=SimpleNamespace(width=WIDTH, weights="made up"))

    def embeddings(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows of `vectors`."""
        return self.vectors[ids]


def make_vectors(frames: int) -> NDArray[np.float32]:
    """Unit vectors [frames, WIDTH]: scenes, with frames scattered around them."""
    random = np.random.default_rng(frames)
    scenes = random.standard_normal((-(-frames // SCENE_FRAMES), WIDTH)).astype(np.float32)
    vectors = np.repeat(scenes, SCENE_FRAMES, axis=0)[:frames]
    vectors += 0.7 * random.standard_normal((frames, WIDTH), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def run() -> list[Table]:
    """One table."""
    table = Table(
        "Needles recalled when recall is bounded",
        ["frames", "index", "question ~ needle", "recalled of budget 96", "recalled of budget 3,600", "median search (ms)"],
        f"{NEEDLES} needles each, single frames at random places; without an index a budget of 96 in 2,592,000 frames would recall 0.004 % "
        "of them.",
    )  # fmt: skip
    for frames in LENGTHS:
        snapshot = cast(MemorySnapshot, MadeUp(make_vectors(frames)))
        index = FrameIndex(None)
        index.catch_up(snapshot)
        for similarity in SIMILARITIES:
            table.add(f"{frames:,}", *_recalled(index, snapshot, similarity))
    return [table]


def _recalled(index: FrameIndex, snapshot: Any, similarity: float) -> tuple[str, float, str, str, float]:
    random = np.random.default_rng(3)
    tiny = published = 0
    times, exact = [], True
    for needle in random.integers(0, snapshot.end, NEEDLES).tolist():
        query = _question(snapshot.vectors[needle], similarity, random)
        began = time.perf_counter()
        found = index.search(query, PUBLISHED.nearest, snapshot)
        times.append(time.perf_counter() - began)
        exact &= found.exact
        nearest = np.array([hit.frame for hit in found.hits], dtype=np.int64)
        visible = np.linspace(0, snapshot.end - 1, 16, dtype=np.int64)
        tiny += needle in plan_recall(snapshot.end, visible, nearest, TINY).frames
        published += needle in plan_recall(snapshot.end, visible, nearest, PUBLISHED).frames
    shares = (f"{100 * tiny / NEEDLES:.1f} %", f"{100 * published / NEEDLES:.1f} %")
    return "exact" if exact else "approximate", similarity, *shares, float(np.median(times) * 1e3)


def _question(needle: NDArray[np.float32], similarity: float, random: np.random.Generator) -> NDArray[np.float32]:
    """A unit vector with the given cosine to the needle."""
    noise = random.standard_normal(WIDTH).astype(np.float32)
    noise -= noise @ needle * needle
    question: NDArray[np.float32] = similarity * needle + np.sqrt(1 - similarity**2) * noise / np.linalg.norm(noise)
    return question.astype(np.float32)
