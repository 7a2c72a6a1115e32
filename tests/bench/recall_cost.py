"""Time to the first token for questions to 1, 10 and 100 hours of synthetic memory, with full and with bounded recall.

The memory is a real snapshot over frames that are generated when read: nothing is written, so 100 hours need no disk.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.format.layout import SCALARS
from afterview.memory.index.frame_index import FrameIndex
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Question
from tests.bench.table import Table
from tests.support.presets import GEOMETRY, write_preset

HOURS = (1, 10, 100)
BUDGET = 3600  # frames, as in the published presets
PATTERNS = 64  # frames that differ; later ones repeat them
_LANGUAGE = {**GEOMETRY["language"], "key_value_heads": 1}  # so that the keys and values of 100 hours are 12 GB
MOST_BYTES = 16e9  # keys and values that a full recall may take here


def run() -> list[Table]:
    """Takes about ten minutes and 20 GB of memory, mostly for 100 hours with full recall; on one thread."""
    torch.set_num_threads(1)
    table = Table(
        "First token of a question to a long memory: full and bounded recall",
        ["memory", "frames", "recall", "frames attended to", "keys", "keys and values /GB", "index, once /s", "first token /s"],
        f"Small geometry on the CPU (width {_LANGUAGE['width']}, one key head of {_LANGUAGE['width'] // _LANGUAGE['heads']}, "
        f"4 MemAug blocks, 16 visible frames), float32; budget {BUDGET} frames. First token: "
        "from the question to the first token, snapshot, index search, reading, MemAug and prefill included. Index: what "
        "the first question took beyond that, when the index of all frames was built; full recall asks no index.",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as directory:
        for hours in HOURS:
            for budget in (10**9, BUDGET):
                measure(table, hours, recall_model(Path(directory), budget))
    return [table]


def recall_model(directory: Path, budget: int) -> AfterviewModel:
    """Random weights, with at most `budget` recalled frames."""
    forgetting = {"spatial": "uniform", "min_frames": 8, "max_frames": 16}
    recall = {"budget": budget, "window": 64, "nearest": 256, "neighbours": 1}
    preset = write_preset(directory, geometry={"language": _LANGUAGE}, forgetting=forgetting, recall=recall)
    return load_pretrained(preset, device="cpu")


def measure(table: Table, hours: float, model: AfterviewModel) -> None:
    """A row of the table: one question (two, if an index must be built) to a memory of this many hours."""
    frames = round(hours * 3600)
    budget = model.preset.recall.budget
    attended = min(frames, budget)
    mode = "full" if budget > BUDGET else "bounded"
    heads = model.video_language.memaug.heads
    size = attended * 65 * 2 * heads.key_value_width * 4 * len(model.video_language.memaug.layers)
    cells: list[object] = [
        f"{hours:g} h",
        f"{frames:,}",
        mode,
        f"{attended:,}",
        f"{attended * 65:,}",
        f"{size / 1e9:.2f}",
    ]
    if size > MOST_BYTES:
        table.add(*cells, "-", "not run")
        return
    if mode == "bounded" and attended == frames:
        table.add(*cells, "-", "as full")  # exact below the budget
        return
    answerer = Answerer(_MadeUpMemory(frames, model.encoders.feature_spec), model)  # type: ignore[arg-type]
    question = Question("Where was the red ring before it left?", max_new_tokens=1)
    first = answerer.ask(question).parts[0].timing["first_token_s"]
    if mode == "full":
        table.add(*cells, "-", first)
        return
    second = answerer.ask(question).parts[0].timing["first_token_s"]
    table.add(*cells, max(0.0, first - second), second)


class _MadeUpFrames:
    """Replaces sealed chunks: each frame is generated from its number."""

    held = None

    def __init__(self, spec: FeatureSpec) -> None:
        random = np.random.default_rng(0)
        shape = (PATTERNS, spec.tokens.tokens_per_frame, spec.tokens.width)
        self._tokens = random.standard_normal(shape).astype(spec.tokens.dtype)
        self._width = spec.index.width

    def tokens(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        return self._tokens[ids % PATTERNS]

    def embeddings(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        phases = np.outer(ids.astype(np.float64) + 1, np.sqrt(np.arange(2, self._width + 2)))
        rows = np.sin(phases)  # no two frames alike
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def scalars(self, name: str, first: int, end: int) -> NDArray[Any]:
        return np.zeros(end - first, dtype=SCALARS[name])

    def images(self, frames: list[int]) -> Iterator[bytes]:
        return (b"" for _ in frames)


@dataclass
class _MadeUpMemory:
    """The part of a memory that an Answerer uses."""

    frames: int
    spec: FeatureSpec
    _index: FrameIndex = field(default_factory=lambda: FrameIndex(None))

    def camera_ids(self) -> list[str]:
        return ["made-up"]

    def camera(self, name: str) -> "_MadeUpMemory":
        return self

    def index(self, name: str) -> FrameIndex:
        return self._index

    def require_own(self, snapshot: MemorySnapshot) -> None:
        pass

    def forgot_since(self, snapshot: MemorySnapshot) -> bool:
        return False

    def snapshot(self) -> MemorySnapshot:
        ids = np.arange(self.frames, dtype=np.int64)
        sealed: Any = _MadeUpFrames(self.spec)
        return MemorySnapshot(
            CameraInfo("made-up", "made-up"), self.spec, 0, 1e9 + ids.astype(np.float64), ids, (), ids[:0], (), None,
            sealed, self.frames, (),
        )  # fmt: skip
