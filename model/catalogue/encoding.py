"""What encoding a frame costs by dtype and batch, as it was measured on this machine; and which dtype that makes the best. Needs no torch.

The figures are seconds of CPU time, so that other programs disturb them little: 1 / cpu_s_per_frame is how many cameras at one frame a
second one core encodes, doing nothing else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from afterview.model.base.machine import Machine
from afterview.model.catalogue.measured import read_entries, write_entry

# The worst cosine of a feature to its float32 one with which features of both may lie in one memory, which then does not record the dtype.
# An encoder that is further off stays in float32: it is checked on the weights themselves whenever it is loaded (model.catalogue.quicken).
TOLERANCE: Final = 0.999
PLAIN: Final = "float32"
DTYPES: Final = (PLAIN, "bfloat16", "int8")


@dataclass(frozen=True)
class EncodingCost:
    """Of one dtype and batch. worst_cosine: of a feature to the one in float32, with the random weights of the measurement."""

    dtype: str
    batch: int
    cpu_s_per_frame: float
    worst_cosine: float

    @property
    def cameras_per_core(self) -> float:
        """At one frame a second."""
        return 1 / self.cpu_s_per_frame

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "cameras_per_core": round(self.cameras_per_core, 2)}


@dataclass(frozen=True)
class EncoderCosts:
    """Of one geometry (model.vision.encoder_dtype.geometry_of). part: what it is for. load: of the machine before. at: Unix seconds."""

    geometry: str
    part: str
    costs: tuple[EncodingCost, ...]
    load: float
    at: float

    @property
    def ranked(self) -> list[str]:
        """The dtypes whose features stay within the tolerance, cheapest first. A live camera gives one frame at a time: batch 1 counts."""
        own = [cost for cost in self.costs if cost.batch == 1 and cost.worst_cosine >= TOLERANCE]
        return [cost.dtype for cost in sorted(own, key=lambda cost: cost.cpu_s_per_frame)]

    @property
    def best(self) -> str:
        """The cheapest dtype that may be used."""
        return next(iter(self.ranked), PLAIN)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        iso = datetime.fromtimestamp(self.at).astimezone().isoformat(timespec="seconds")
        costs = [cost.to_dict() for cost in self.costs]
        return {**asdict(self), "costs": costs, "best": self.best, "tolerance": TOLERANCE, "at_iso": iso}

    def describe(self) -> str:
        """For people."""
        when = datetime.fromtimestamp(self.at).astimezone().strftime("%Y-%m-%d %H:%M")
        alone = [cost for cost in self.costs if cost.batch == 1]
        shown = ", ".join(
            f"{cost.dtype} {cost.cameras_per_core:.1f}"
            + ("" if cost.dtype == PLAIN else f" (worst cosine to float32 {cost.worst_cosine:.5f})")
            for cost in alone
        )
        return (
            f"{self.part}, {self.geometry}: cameras a core at 1 frame a second: {shown}; recording uses {self.best} (measured {when}, load "
            f"{self.load:g} before)"
        )


def keep_costs(preset: str, found: Iterable[EncoderCosts], machine: Machine) -> None:
    """Keep them in place of older ones of the same geometry, preset and machine. Raises OSError."""
    for one in found:
        entry = {"encoder": one.geometry, "of_preset": preset, "machine": _identity(machine), "costs": asdict(one)}
        keys = {key: entry[key] for key in ("encoder", "of_preset", "machine")}
        write_entry(entry, partial(_same, keys))


def read_costs(machine: Machine) -> list[tuple[str, EncoderCosts]]:
    """What was measured on this machine as it is, with the preset that was measured, oldest first. What cannot be read counts as none."""
    found: list[tuple[str, EncoderCosts]] = []
    for entry in read_entries():
        try:
            if entry["machine"] != _identity(machine):
                continue
            values = entry["costs"]
            costs = tuple(EncodingCost(**cost) for cost in values["costs"])
            own = EncoderCosts(**{**values, "costs": costs})
            own.describe(), own.to_dict()  # raises for values that cannot be shown
            if isinstance(own.geometry, str) and all(
                cost.cpu_s_per_frame > 0 and cost.worst_cosine <= 1.001 and cost.dtype in DTYPES for cost in costs
            ):
                found.append((str(entry["of_preset"]), own))
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError, OSError):
            continue
    return found


def _identity(machine: Machine) -> dict[str, Any]:
    """What the figures depend on: not on a GPU."""
    return {key: value for key, value in machine.identity.items() if key != "gpus"}


def _same(keys: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    return all(entry.get(key) == value for key, value in keys.items())
