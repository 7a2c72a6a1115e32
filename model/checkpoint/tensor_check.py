"""Refuses a checkpoint whose tensors do not fit its configuration: names and shapes must agree exactly."""

from collections.abc import Mapping, Sequence

from afterview.model.base.errors import TensorMismatch
from afterview.model.checkpoint.weights import Slot, TensorSource


def check(slots: Mapping[str, Slot], sources: Mapping[str, TensorSource], *, where: str) -> None:
    """Raise TensorMismatch unless every slot has exactly one source of the right shape, and every source a slot."""
    shapes = {name: (sources[name].shape(), slots[name].shape) for name in sorted(slots.keys() & sources.keys())}
    report = {
        "missing": sorted(slots.keys() - sources.keys()),
        "unexpected": sorted(sources.keys() - slots.keys()),
        "of another shape": [f"{n}: {list(got)}, not {list(want)}" for n, (got, want) in shapes.items() if got != want],
    }
    found = [f"{len(names)} {what} ({_some(names)})" for what, names in report.items() if names]
    if found:
        raise TensorMismatch(
            f"{where}: its tensors do not fit its config.json: {', '.join(found)}; "
            "download the checkpoint again, or correct config.json"
        )


def _some(names: Sequence[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
