"""Gathers sampled frames into the clips that an encoder compresses together (memory.base.feature_spec: frames_per_record).

The frames of a clip are neighbours. A clip is closed early by an outage, a pause or dropped frames, by a silence that the memory
records as a gap, by another model's turn, and by the end; such clips are counted (`IngestStats.short_clips`). Until a clip is closed, its
frames are not stored and so not acknowledged: that is part of their lag, at most three steps of the source.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from afterview.memory.plans.silence import SourcePace
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.items import Dropped, Interruption, Joint, Marker, Pace
from afterview.stream.ingest.preprocess import Sampled

Group = tuple[CameraIngest, list[Sampled | Pace | Joint] | Marker]
"""A marker, or the frames of one clip, with the markers that came between them and do not part them."""


@dataclass
class _Held:
    """What is known of one camera. items: of the clip that is not closed yet, a frame first."""

    pace: SourcePace
    items: list[Sampled | Pace | Joint] = field(default_factory=list)
    frames: int = 0  # among the items
    last: float | None = None  # time of the newest frame
    apart: bool = True  # the step to the next frame says nothing of the source's pace


class ClipGatherer:
    """Holds each camera's frames until a clip is complete. Encode thread only. Without merging, every frame is a clip of one."""

    def __init__(self) -> None:
        self._held: dict[CameraIngest, _Held] = {}

    def gather(self, items: Iterable[tuple[CameraIngest, Sampled | Marker]]) -> list[Group]:
        """What is ready, in the order of each camera's items."""
        ready: list[Group] = []
        for camera, item in items:
            if isinstance(item, Sampled):
                ready += self._frame(camera, item)
            else:
                ready += self._marker(camera, item)
        return ready

    def rest(self, camera: CameraIngest) -> list[Group]:
        """The short clip of a camera that has ended, if there is one."""
        held = self._held.pop(camera, None)
        return self._close(camera, held) if held else []

    def _of(self, camera: CameraIngest) -> _Held:
        if camera not in self._held:
            self._held[camera] = _Held(SourcePace(1 / camera.config.fps))
        return self._held[camera]

    def _frame(self, camera: CameraIngest, frame: Sampled) -> list[Group]:
        size, held = clip_size(frame), self._of(camera)
        ready: list[Group] = []
        step = None if held.last is None else frame.time - held.last
        first = next((item for item in held.items if isinstance(item, Sampled)), None)
        if first and (frame.encoders is not first.encoders or (step is not None and held.pace.is_hole(step))):
            ready += self._close(camera, held)
        if step is not None and not held.apart:
            held.pace.add(step)
        held.items.append(frame)
        held.frames, held.last, held.apart = held.frames + 1, frame.time, False
        return [*ready, *self._close(camera, held)] if held.frames == size else ready

    def _marker(self, camera: CameraIngest, marker: Marker) -> list[Group]:
        held = self._of(camera)
        match marker:
            case Pace():
                held.pace.allow(marker.step_s)
            case Joint():
                held.pace.restart(marker.steps or ())
                held.apart = True
            case Interruption() | Dropped():
                held.apart = True
                return [*self._close(camera, held), (camera, marker)]
        if held.frames:
            held.items.append(marker)
            return []
        return [(camera, marker)]

    def _close(self, camera: CameraIngest, held: _Held) -> list[Group]:
        items, frames = held.items, held.frames
        held.items, held.frames = [], 0
        if not frames:
            return []
        first = next(item for item in items if isinstance(item, Sampled))
        camera.stats.short_clips += frames < clip_size(first)
        return [(camera, items)]


def clip_size(frame: Sampled) -> int:
    """Frames that are encoded together with this one."""
    return frame.encoders.feature_spec.tokens.frames_per_record
