"""Gathers sampled frames into the clips that an encoder compresses together (memory.base.feature_spec: frames_per_record)."""

from collections.abc import Iterable

from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.items import Marker
from afterview.stream.ingest.preprocess import Sampled

Group = tuple[CameraIngest, list[Sampled] | Marker]


class ClipGatherer:
    """Holds each camera's frames until a clip is complete. Encode thread only.

    A notice, another model's turn, or the end closes a short clip. Without merging, every frame is a clip of one.
    """

    def __init__(self) -> None:
        self._held: dict[CameraIngest, list[Sampled]] = {}

    def gather(self, items: Iterable[tuple[CameraIngest, Sampled | Marker]]) -> list[Group]:
        """What is ready, in the order of each camera's items."""
        ready: list[Group] = []
        for camera, item in items:
            held = self._held.get(camera)
            if held and (isinstance(item, Marker) or item.encoders is not held[0].encoders):
                ready.append((camera, self._held.pop(camera)))
            if isinstance(item, Marker):
                ready.append((camera, item))
                continue
            held = self._held.setdefault(camera, [])
            held.append(item)
            if len(held) == clip_size(item):
                ready.append((camera, self._held.pop(camera)))
        return ready

    def rest(self, camera: CameraIngest) -> list[Group]:
        """The short clip of a camera that has ended, if there is one."""
        held = self._held.pop(camera, None)
        return [(camera, held)] if held else []


def clip_size(frame: Sampled) -> int:
    """Frames that are encoded together with this one."""
    return frame.encoders.feature_spec.tokens.frames_per_record
