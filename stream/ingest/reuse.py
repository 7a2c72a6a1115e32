"""Frames that hardly differ from one before may reuse its features: a still scene then costs a comparison, not the encoders.

Off unless a bound is given. The bound is on the squares of pixels that the encoders would see, in grey levels from 0 to 255. The
difference of two pictures is that of their worst block of 16 x 16 pixels (the mean over its pixels and colours), or twice that of the whole
picture, whichever is more: a small thing that appears counts as much as light that changes everywhere. A frame is compared with the
frame whose features would be reused, not with the frame just before it, so that slow changes do not add up.

Never across a gap (lost, paused, dropped, a silence that counts as a gap, another file), never across models, not for damaged pictures,
and at most MOST_IN_A_ROW times in a row. Encode thread only.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from afterview.configs import UsageError
from afterview.memory.base.records import FrameRecord
from afterview.memory.plans.silence import SourcePace
from afterview.stream.ingest.items import Joint, Marker, Pace
from afterview.stream.ingest.preprocess import Sampled

if TYPE_CHECKING:  # built models are handed in: importing this module must not load torch
    from afterview.model.checkpoint.models import Encoders
    from afterview.stream.ingest.camera import CameraIngest
    from afterview.stream.ingest.clips import Group

    Encoded = tuple[CameraIngest, FrameRecord | Marker, Encoders | None]

BLOCK: Final = 16  # pixels
MOST_IN_A_ROW: Final = 30  # frames: half a minute at one a second
LARGEST_BOUND: Final = 32.0  # grey levels; beyond, pictures differ for everybody


@dataclass
class _Anchor:
    """A frame that is encoded, and whose features others may reuse. record: once it is encoded."""

    frame: Sampled
    used: int = 0  # times in a row
    record: FrameRecord | None = None


@dataclass
class _Held:
    """What is known of one camera. apart: the step to the next frame says nothing of the source's pace."""

    pace: SourcePace
    anchor: _Anchor | None = None
    last: float | None = None
    apart: bool = True


@dataclass(frozen=True)
class Decision:
    """What becomes of one group. reuses: whose features it takes; None: it is encoded. anchor: where its own features are kept."""

    camera: "CameraIngest"
    group: "list[Sampled | Pace | Joint] | Marker"
    reuses: _Anchor | None = None
    anchor: _Anchor | None = None


class FeatureReuse:
    """Decides for the frames of all cameras that ask for it (IngestConfig.reuse_bound)."""

    def __init__(self) -> None:
        self._held: dict[CameraIngest, _Held] = {}

    def decide(self, groups: "Sequence[Group]") -> list[Decision]:
        """A decision for each group, in order."""
        return [self._decide(camera, group) for camera, group in groups]

    def forget(self, camera: "CameraIngest") -> None:
        """The camera has ended."""
        self._held.pop(camera, None)

    def _decide(self, camera: "CameraIngest", group: "list[Sampled | Pace | Joint] | Marker") -> Decision:
        bound = camera.config.reuse_bound
        if bound is None:
            return Decision(camera, group)
        held = self._held.setdefault(camera, _Held(SourcePace(1 / camera.config.fps)))
        if not isinstance(group, list):
            self._marker(held, group)
            return Decision(camera, group)
        frame = group[0]
        if len(group) > 1 or not isinstance(frame, Sampled) or not can_reuse(frame.encoders):
            held.anchor, held.apart = None, True
            return Decision(camera, group)
        if self._follows(held, frame) and held.anchor and differ(held.anchor.frame, frame) <= bound:
            held.anchor.used += 1
            return Decision(camera, group, reuses=held.anchor)
        held.anchor = None if frame.picture_damaged else _Anchor(frame)
        return Decision(camera, group, anchor=held.anchor)

    def _marker(self, held: _Held, marker: Marker) -> None:
        if isinstance(marker, Pace):
            held.pace.allow(marker.step_s)
            return
        if isinstance(marker, Joint):
            held.pace.restart(marker.steps or ())
        held.anchor, held.apart = None, True

    def _follows(self, held: _Held, frame: Sampled) -> bool:
        """Whether the features before it may be reused as far as time and model go; notes its time."""
        step = None if held.last is None or held.apart else frame.time - held.last
        held.last, held.apart = frame.time, False
        if step is None:
            return False
        hole = held.pace.is_hole(step)
        held.pace.add(step)
        anchor = held.anchor
        return (
            not hole
            and anchor is not None
            and anchor.frame.encoders is frame.encoders
            and not frame.picture_damaged
            and anchor.used < MOST_IN_A_ROW
        )


def merged(
    decisions: Sequence[Decision], encoded: "Sequence[Encoded]", failed: "set[CameraIngest]"
) -> "Iterator[Encoded]":
    """What was encoded and what is reused, in the order of each camera's items. Counts what is reused."""
    own: dict[CameraIngest, list[Encoded]] = {}
    for item in encoded:
        own.setdefault(item[0], []).append(item)
    left = {camera: iter(items) for camera, items in own.items()}
    for one in decisions:
        if one.camera in failed:
            continue
        if one.reuses is None:
            for _ in range(len(one.group) if isinstance(one.group, list) else 1):
                item = next(left[one.camera])
                if one.anchor is not None and isinstance(item[1], FrameRecord):
                    one.anchor.record = item[1]
                yield item
        elif one.reuses.record is not None and isinstance(one.group, list) and isinstance(one.group[0], Sampled):
            one.camera.stats.features_reused += 1
            yield one.camera, _with_features(one.group[0], one.reuses.record), one.group[0].encoders


def differ(one: Sampled, other: Sampled) -> float:
    """How far two frames' pixels are apart, in grey levels: of the vision tower's squares, and of the index's where those are others."""
    apart = difference(one.token_pixels, other.token_pixels)
    if one.index_pixels is not one.token_pixels:
        apart = max(apart, difference(one.index_pixels, other.index_pixels))
    return apart


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Of two pictures [S, S, 3]: the mean absolute difference in the worst block, or twice that of the whole; 0 only if they are equal."""
    if one.shape != other.shape:
        return math.inf
    apart_SS = np.abs(one.astype(np.int16) - other).sum(2, dtype=np.int32)
    edges = np.arange(0, apart_SS.shape[0], BLOCK)
    blocks = np.add.reduceat(np.add.reduceat(apart_SS, edges, axis=0), edges, axis=1)
    sides = np.diff(np.append(edges, apart_SS.shape[0]))
    worst = float((blocks / (3 * np.outer(sides, sides))).max())
    return max(worst, 2 * float(blocks.sum()) / one.size)


def can_reuse(encoders: "Encoders") -> bool:
    """Whether its features are of single frames: those of a clip say what moved in it."""
    return encoders.feature_spec.tokens.frames_per_record == 1


def require_reusable(encoders: "Encoders", bound: float | None, *, option: str = "--reuse-features") -> None:
    """Raise UsageError for a bound with a model that merges clips."""
    if bound is not None and not can_reuse(encoders):
        size = encoders.feature_spec.tokens.frames_per_record
        raise UsageError(
            f"{option} {bound:g}: model '{encoders.name}' merges clips of {size} frames, whose features say what moves in them; leave it "
            "out, or use a model that encodes single frames"
        )


def _with_features(frame: Sampled, record: FrameRecord) -> FrameRecord:
    return replace(
        record, time=frame.time, arrival_time=frame.arrival_time, source_time=frame.source_time, time_basis=frame.time_basis,
        image=frame.image, picture_damaged=frame.picture_damaged,
    )  # fmt: skip
