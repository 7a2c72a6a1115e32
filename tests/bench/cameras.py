"""A question to four cameras: in one batch, or one camera after another. The built-in model and random features, on one thread."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from afterview.memory.plans.positions import plan_layout
from afterview.model import batch
from afterview.model.batch import Sample, several_inputs
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from tests.bench.table import Table

CAMERAS = 4
FRAMES = (8, 32, 128)  # of each camera's memory; 128 is the built-in model's recall budget
TOKENS = 17  # of each answer
TRIES = 3  # repetitions; the fastest counts, because other work on the machine only adds time


def run() -> list[Table]:
    """Takes half a minute."""
    torch.set_num_threads(1)
    model = load_pretrained("tiny", device="cpu")
    model.video_language.language.stop_ids = frozenset()  # answers of one length
    table = Table(
        f"A question to {CAMERAS} cameras: in one batch, and one camera after another",
        ["frames", "keys", "MemAug, one by one /s", "in one batch /s", "answers, one by one /s", "in one batch /s"],
        f"The built-in model, float32, one thread, fastest of {TRIES}; frames and keys of each camera, {TOKENS} tokens of each answer. So "
        "answers are generated in one batch, and memories "
        f"go through MemAug together only while they hold {batch.MEMORY_TOGETHER:,} keys in all.",
    )  # fmt: skip
    for frames in FRAMES:
        _measure(table, model, frames)
    return [table]


def _measure(table: Table, model: AfterviewModel, frames: int) -> None:
    network, shipped = model.video_language, batch.MEMORY_TOGETHER
    draw = np.random.default_rng(0)
    samples = [
        Sample(
            draw.standard_normal((frames, 64, network.projector.vision_width)).astype(np.float16),
            plan_layout(frames, config=model.preset.forgetting),
            model.prompt("What was the colour of the big box?", frames=frames, seconds=float(frames)),
        )
        for _ in range(CAMERAS)
    ]
    seconds = []
    try:
        for most in (0, 10**9):
            batch.MEMORY_TOGETHER = most
            seconds.append(_fastest(lambda: several_inputs(network, samples)))
    finally:
        batch.MEMORY_TOGETHER = shipped
    inputs = several_inputs(network, samples)
    seconds.append(_fastest(lambda: [list(network.generate(own, max_new_tokens=TOKENS)) for own in inputs]))
    seconds.append(_fastest(lambda: list(network.generate_several(inputs, max_new_tokens=TOKENS))))
    table.add(frames, f"{len(samples[0].layout.key_tokens()):,}", *seconds)


def _fastest(work: Callable[[], Any]) -> float:
    def once() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return min(once() for _ in range(TRIES))
