"""What a service has shown to clients, and whether the memory still has it: every frame with its time, every closed gap, every answer.

`Shown` appends to a file as soon as something was shown; `Promises` reads that file and compares it with the memory on disk.
"""

import bisect
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from afterview.configs import AfterviewError
from afterview.memory.format.answer_files import saved_directories
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.snapshot import MemorySnapshot
from tests.soak.events import append, read

_SAME_S = 2e-6  # JSON has microseconds
KEPT_ANSWERS = (
    450  # of the newest 500 that a memory keeps: the order in which answers are saved and seen differs a little
)

Frame = tuple[str, int, float]  # camera, number, time


class Shown:
    """Notes what a service has shown. From any thread."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._frames: dict[tuple[str, int], float] = {}

    def frames(self, frames: Iterable[Frame]) -> list[str]:
        """Frames with their times; those that were shown with another time before."""
        new, wrong = [], []
        with self._lock:
            for camera, number, time in frames:
                known = self._frames.get((camera, number))
                if known is None:
                    self._frames[camera, number] = time
                    new.append((camera, number, time))
                elif abs(known - time) > _SAME_S:
                    wrong.append(f"{camera}: frame {number} has time {time}, and had {known}")
        if new:
            append(self._path, "frames", frames=new)
        return wrong

    def note(self, kind: str, **values: Any) -> None:
        """Anything else: `times` {camera: times of frames}, `gaps` {camera: [start, end, reason]}, `answer` (id, content),
        `picture` (camera, frame, etag), `recorded` (life, camera: number)."""
        append(self._path, kind, **values)


def content_of(document: Mapping[str, Any]) -> list[Any]:
    """What must be the same when an answer or a search is opened again."""
    if "hits" in document:
        return [document["text"], [[hit["camera"], hit["frame"], hit["time"]] for hit in document["hits"]]]
    evidence = [[one["camera"], one["frame"], one["time"]] for one in document["evidence"]]
    return [document["question"], document["answer"], evidence]


class Promises:
    """All that was shown so far, from the file that Shown wrote."""

    def __init__(self, path: Path) -> None:
        self.frames: dict[str, dict[int, float]] = defaultdict(dict)
        self.times: dict[str, set[float]] = defaultdict(set)
        self.gaps: dict[str, set[tuple[float, float, str]]] = defaultdict(set)
        self.answers: dict[str, list[Any]] = {}
        self.pictures: dict[tuple[str, int], str] = {}
        self.recorded: dict[int, dict[str, int]] = defaultdict(dict)  # by life, the most that was shown
        for event in read(path) if path.exists() else ():
            self._take(event)

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        if kind == "frames":
            for camera, number, time in event["frames"]:
                self.frames[camera][number] = time
        elif kind == "times":
            for camera, times in event["times"].items():
                self.times[camera].update(times)
        elif kind == "gaps":
            for camera, gaps in event["gaps"].items():
                self.gaps[camera].update((start, end, reason) for start, end, reason in gaps)
        elif kind == "answer":
            self.answers[event["id"]] = event["content"]
        elif kind == "picture":
            self.pictures[event["camera"], event["frame"]] = event["etag"]
        elif kind == "recorded":
            known = self.recorded[event["life"]]
            known.update({camera: max(number, known.get(camera, 0)) for camera, number in event["recorded"].items()})

    def newest_answers(self, count: int) -> list[str]:
        """Their ids."""
        return list(self.answers)[-count:]

    def counts(self) -> dict[str, int]:
        """How much was shown."""
        return {
            "frames": sum(map(len, self.frames.values())), "answers": len(self.answers), "pictures": len(self.pictures),
            "gaps": sum(map(len, self.gaps.values())), "times": sum(map(len, self.times.values())),
        }  # fmt: skip

    def broken(self, memory: Path, frames_before: Mapping[str, int], life: int) -> list[str]:
        """What the memory lacks, one line each. frames_before: that each camera had when this life of the service began."""
        found = []
        for camera in sorted({*self.frames, *self.times, *self.gaps, *self.recorded[life]}):
            try:
                snapshot = CameraReader(memory / camera).snapshot()
            except (AfterviewError, OSError) as error:
                found.append(f"{camera}: cannot be read: {error}")
                continue
            found += [f"{camera}: {what}" for what in self._of_camera(camera, snapshot)]
            least = frames_before.get(camera, 0) + self.recorded[life].get(camera, 0)
            if snapshot.frames < least:
                found.append(f"{camera}: {snapshot.frames} frames, but {least} were counted as recorded")
        saved = {one.id for one in saved_directories(memory)}
        if lost := [answer for answer in self.newest_answers(KEPT_ANSWERS) if answer not in saved]:
            found.append(f"{len(lost)} answers are gone: {', '.join(lost[:5])}")
        return found

    def _of_camera(self, camera: str, snapshot: MemorySnapshot) -> list[str]:
        held = dict(zip(snapshot.ids.tolist(), snapshot.times.tolist(), strict=True))
        shown, times = self.frames[camera], sorted(held.values())
        gone = [number for number in shown if number not in held]
        moved = [number for number, time in shown.items() if number in held and abs(held[number] - time) > _SAME_S]
        absent = [time for time in self.times[camera] if not _near(times, time)]
        gaps = sorted((gap.start, gap.end, gap.reason) for gap in snapshot.gaps)
        lost = [gap for gap in self.gaps[camera] if not any(_same_gap(gap, other) for other in gaps)]
        return [
            f"{len(wrong)} {what}, such as {wrong[0]}"
            for wrong, what in (
                (gone, "frames that were shown are missing"), (moved, "frames have another time than was shown"),
                (absent, "times of frames that were shown are missing"), (lost, "gaps that were shown are missing"),
            )
            if wrong
        ]  # fmt: skip

    def altered_pictures(self, camera: str, snapshot: MemorySnapshot) -> list[int]:
        """Frames whose picture is no longer that which was shown."""
        held = set(snapshot.ids.tolist())
        own = sorted(frame for name, frame in self.pictures if name == camera and frame in held)
        images = snapshot.images(np.array(own, dtype=np.int64))
        tags = {frame: f'"{sha256(image).hexdigest()[:32]}"' for frame, image in zip(own, images, strict=True)}
        return [frame for frame, tag in tags.items() if tag != self.pictures[camera, frame]]


def _near(times: list[float], time: float) -> bool:
    place = bisect.bisect_left(times, time - _SAME_S)
    return place < len(times) and times[place] <= time + _SAME_S


def _same_gap(one: tuple[float, float, str], other: tuple[float, float, str]) -> bool:
    return one[2] == other[2] and abs(one[0] - other[0]) <= _SAME_S and abs(one[1] - other[1]) <= _SAME_S
