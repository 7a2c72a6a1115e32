"""Gathers sampled frames into the clips that an encoder compresses together (memory.spec: frames_per_record)."""

from collections.abc import Iterable

from stream.ingest import CameraIngest, Interruption, Sampled

Group = tuple[CameraIngest, list[Sampled] | Interruption]


class ClipGatherer:
    """Holds each camera's frames until a clip is whole. An interruption, or the end, closes a clip that is short. Encode thread only."""

    def __init__(self, frames_per_clip: int) -> None:
        self._size = frames_per_clip
        self._held: dict[CameraIngest, list[Sampled]] = {}

    def gather(self, items: Iterable[tuple[CameraIngest, Sampled | Interruption]]) -> list[Group]:
        """What is ready, in the order of each camera's items."""
        ready: list[Group] = []
        for camera, item in items:
            held = self._held.setdefault(camera, [])
            if isinstance(item, Sampled):
                held.append(item)
            if held and (len(held) == self._size or isinstance(item, Interruption)):
                ready.append((camera, self._held.pop(camera)))
            if isinstance(item, Interruption):
                ready.append((camera, item))
        return ready

    def rest(self) -> list[Group]:
        """Short clips of cameras that have ended."""
        ready: list[Group] = [(camera, held) for camera, held in self._held.items() if held]
        self._held.clear()
        return ready
