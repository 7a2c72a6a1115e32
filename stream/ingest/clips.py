"""Gathers sampled frames into the clips that an encoder compresses together (memory.base.spec: frames_per_record)."""

from collections.abc import Iterable

from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.preprocess import Sampled
from afterview.stream.ingest.write import Interruption

Group = tuple[CameraIngest, list[Sampled] | Interruption]


class ClipGatherer:
    """Holds each camera's frames until a clip is whole. Encode thread only.

    An interruption, another model's turn, or the end closes a clip that is short. Frames of a model that merges none are clips of one.
    """

    def __init__(self) -> None:
        self._held: dict[CameraIngest, list[Sampled]] = {}

    def gather(self, items: Iterable[tuple[CameraIngest, Sampled | Interruption]]) -> list[Group]:
        """What is ready, in the order of each camera's items."""
        ready: list[Group] = []
        for camera, item in items:
            held = self._held.get(camera)
            if held and (isinstance(item, Interruption) or item.encoders is not held[0].encoders):
                ready.append((camera, self._held.pop(camera)))
            if isinstance(item, Interruption):
                ready.append((camera, item))
                continue
            held = self._held.setdefault(camera, [])
            held.append(item)
            if len(held) == clip_size(item):
                ready.append((camera, self._held.pop(camera)))
        return ready

    def rest(self) -> list[Group]:
        """Short clips of cameras that have ended."""
        ready: list[Group] = [(camera, held) for camera, held in self._held.items() if held]
        self._held.clear()
        return ready


def clip_size(frame: Sampled) -> int:
    """Frames that are encoded together with this one."""
    return frame.encoders.feature_spec.tokens.frames_per_record
