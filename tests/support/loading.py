"""Measures the resident memory of loading: makes a checkpoint in the published layout and loads it in a separate process."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

WIDTH, LAYER_MB = 1024, 30  # a decoder layer of this width, in bfloat16


class Loaded(NamedTuple):
    """Sizes in bytes. growth: peak resident memory while loading minus that before, as a multiple of the weights."""

    weights: int
    growth: float
    seconds: float


def make_checkpoint(directory: Path, *, megabytes: int, shard: str) -> None:
    """A sharded bfloat16 checkpoint of at least `megabytes`: vision tower, projector, MemAug, decoder."""
    from afterview.model.checkpoint import saving as save
    from afterview.model.checkpoint.loading import load_pretrained
    from afterview.model.checkpoint.saving import save_pretrained
    from tests.support.presets import write_preset

    tower = {"width": 384, "layers": 4, "heads": 6, "mlp_width": 1536, "image_size": 378, "patch_size": 14}
    # MemAug's four blocks hold some 100 MB at this width
    language = {"width": WIDTH, "layers": max(1, -(-(megabytes - 100) // LAYER_MB)), "heads": 16, "key_value_heads": 2,
                "mlp_width": 4096}  # fmt: skip
    preset = write_preset(directory, geometry={"vision": tower, "language": language})
    model = load_pretrained(preset, device="cpu", dtype="bfloat16")
    before, save.SHARD_SIZE = save.SHARD_SIZE, shard
    try:
        save_pretrained(model, directory)
    finally:
        save.SHARD_SIZE = before


def measure_loading(directory: Path, dtype: str) -> Loaded:
    """Load the checkpoint in a separate process."""
    command = [sys.executable, "-m", "tests.support.loading", str(directory), dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return Loaded(**json.loads(done.stdout))


def _measure_here(directory: str, dtype: str) -> Loaded:
    import psutil
    import torch

    from afterview.model.checkpoint.loading import load_pretrained

    torch.set_num_threads(1)
    load_pretrained("tiny", device="cpu")  # loads the libraries first
    process, readings, done = psutil.Process(), [0], threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not done.wait(0.002):
            readings.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began = time.perf_counter()
    model = load_pretrained(directory, device="cpu", dtype=dtype)
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    parameters = [*model.video_language.parameters(), *model.vision.tower.parameters()]
    weights = sum(parameter.nbytes for parameter in {id(p): p for p in parameters}.values())
    return Loaded(weights, (max(*readings, process.memory_info().rss) - before) / weights, seconds)


if __name__ == "__main__":
    print(json.dumps(_measure_here(*sys.argv[1:])._asdict()))
