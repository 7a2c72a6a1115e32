"""What travels through a camera's queues beside its frames. Each item stands where it happened, between the frames before and after it."""

from dataclasses import dataclass

from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.records import GapReason


@dataclass(frozen=True)
class Interruption:
    """No frame comes in from here on, because of `reason`."""

    reason: GapReason


@dataclass(frozen=True)
class Dropped:
    """So many frames were dropped here because the next stage was too slow."""

    frames: int
    reason: GapReason = "dropped"


@dataclass(frozen=True)
class FeaturesOf:
    """The frames that follow were encoded as this spec says. Until the first such item: as the repository's spec says."""

    spec: FeatureSpec


@dataclass(frozen=True)
class Pace:
    """The next step between two frames may be so many seconds long without a gap: the source gives no more."""

    step_s: float


@dataclass(frozen=True)
class Joint:
    """The next frame goes on where the memory ends, in the same or the next file of an archive. A silence before it that is longer than the
    source's pace is a gap because of `reason`. steps: see Repository.goes_on."""

    reason: GapReason
    steps: tuple[float, ...] | None = None


Marker = Interruption | Dropped | Pace | Joint
