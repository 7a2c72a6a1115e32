"""What encoding a frame costs a core by dtype and batch, in CPU time, for SigLIP base and so400m; and how far features move."""

import os
import resource

from afterview.model.catalogue.encoding import TOLERANCE, EncoderCosts
from afterview.model.catalogue.measure_encoders import base_index, base_tower, measure_part, so400m_tower
from tests.bench.table import Table

_PARTS = (
    ("index encoder, SigLIP 2 base 224", base_index, 20.0),
    ("vision tower, SigLIP 2 base 224", base_tower, 20.0),
    ("vision tower, SigLIP so400m 384", so400m_tower, 20.0),
)


def run() -> list[Table]:
    """Takes three minutes of CPU time."""
    load = os.getloadavg()[0]
    table = Table(
        "Encoding at one frame a second: cameras per core",
        ["encoder", "dtype", "batch", "CPU s a frame", "cameras a core", "worst cosine to float32"],
        "CPU time of one thread on random weights, the least of two runs after one (of one run where it takes over 10 s). A batch that "
        "would take over 20 s is left out. int8: dynamic, linear layers alone. A dtype is used only if the worst cosine is at least "
        f"{TOLERANCE}, of the weights that are loaded. Published weights were not available: their cosines are not known. "
        f"Load average of the machine before: {load:.1f} on {os.cpu_count()} cores.",
    )
    for name, make, longest_s in _PARTS:
        _add(table, name, measure_part(name, make, longest_s=longest_s))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    table.note += f" Highest resident memory of the run: {peak:.1f} GB."
    return [table]


def _add(table: Table, name: str, found: EncoderCosts) -> None:
    for cost in found.costs:
        cosine = "" if cost.dtype == "float32" else f"{cost.worst_cosine:.5f}"
        table.add(name, cost.dtype, cost.batch, cost.cpu_s_per_frame, f"{cost.cameras_per_core:.2f}", cosine)
