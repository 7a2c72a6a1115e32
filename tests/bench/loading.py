"""Resident memory and time of loading a sharded checkpoint of more than a gigabyte in the published layout."""

import tempfile
from pathlib import Path

from tests.bench.table import Table
from tests.support.loading import make_checkpoint, measure_loading

MEGABYTES = 1200


def run() -> list[Table]:
    """Takes half a minute."""
    table = Table(
        "Loading a sharded bfloat16 checkpoint on the CPU",
        ["loaded as", "weights /GB", "growth of resident memory / weights", "bound", "seconds"],
        "Growth: the highest resident memory while loading, less that before it, over the weights as loaded. The file is in the cache.",
    )
    with tempfile.TemporaryDirectory() as directory:
        make_checkpoint(Path(directory), megabytes=MEGABYTES, shard="300MB")
        for dtype in ("bfloat16", "float32"):
            loaded = measure_loading(Path(directory), dtype)
            table.add(dtype, loaded.weights / 1e9, f"{loaded.growth:.3f}", "1.15", loaded.seconds)
    return [table]
