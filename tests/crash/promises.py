"""What must hold after any crash, checked against the acknowledgement file and the log of requests, never against the memory itself."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from afterview.memory.base.durable import unfinished_files
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.records import frame_crc
from afterview.memory.format.manifest import Manifest
from afterview.memory.fsck.fsck import fsck
from afterview.memory.plans.downsampling import downsampled_mask
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.memory.writing.erase import traces
from afterview.memory.writing.open import open_camera


@dataclass(frozen=True)
class Acked:
    """One line of an acknowledgement file."""

    frame: int
    time: float
    crc: int


def read_acks(path: Path) -> list[Acked]:
    """Every whole line: a line that a kill cut short promised nothing."""
    text = path.read_text() if path.exists() else ""
    lines = text[: text.rfind("\n") + 1].splitlines()
    return [Acked(int(frame), float(when), int(crc, 16)) for frame, when, crc in (line.split() for line in lines)]


def read_requests(path: Path) -> tuple[list[tuple[float, float]], list[tuple[float, float]], bool]:
    """(spans whose forgetting was asked for, spans that were reported forgotten, whether retention ever ran)."""
    text = path.read_text() if path.exists() else ""
    lines = [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]
    asked = [(float(line[1]), float(line[2])) for line in lines if line[0] == "forget"]
    done = [(float(line[1]), float(line[2])) for line in lines if line[0] == "forgotten"]
    return asked, done, any(line[0] == "evict" for line in lines)


def broken_promises(
    memory: Path, camera: str, acks: Path, log: Path, spec: FeatureSpec, *, keep_s: float = np.inf, fps: float = 1.0
) -> list[str]:
    """Reopen a camera after a crash; every promise that does not hold, one line each. fps: that the camera keeps."""
    directory = memory / camera
    made = (directory / "camera.json").exists()  # else it was killed while the camera was being made: it is made again
    if not made and read_acks(acks):
        return ["acknowledged frames, but no camera"]
    damage = fsck(directory).damage if made else []
    broken = [f"fsck before reopening: {finding.where.name} {finding.what}" for finding in damage]
    try:
        with open_camera(memory, camera, spec, fps=fps) as repository:
            frames = repository.frames
    except Exception as error:
        return [*broken, f"reopening failed: {error!r}"]
    if not frames:
        return ["acknowledged frames, but an empty camera"] if read_acks(acks) else broken
    broken += [f"fsck after reopening: {finding.where.name} {finding.what}" for finding in fsck(directory).damage]
    broken += [f"left half written: {path.name}" for path in unfinished_files(directory) if not _of_upload(path)]
    snapshot = CameraReader(directory).snapshot()
    return [*broken, *_altered(snapshot, directory, read_acks(acks), log, keep_s), *_left(snapshot, directory, log)]


def _of_upload(path: Path) -> bool:
    """Whether the next upload removes this file, not the next writer."""
    return path.name.startswith(".uploaded.")


def _altered(snapshot: MemorySnapshot, directory: Path, acks: list[Acked], log: Path, keep_s: float) -> list[str]:
    """Acknowledged frames that are missing though nobody asked for that, or are not what was acknowledged."""
    asked, _, evicting = read_requests(log)
    newest = max((ack.time for ack in acks), default=0.0)
    present = set(snapshot.ids.tolist())
    held = [ack for ack in acks if ack.frame in present]
    downsampled = downsampled_mask(
        snapshot.end, Manifest.read(directory).downsampled
    )  # asked for, and other tokens than were acknowledged
    ids = np.array([ack.frame for ack in held], dtype=np.int64)
    rows = zip(held, snapshot.images(ids), snapshot.tokens(ids), snapshot.embeddings(ids), strict=True)
    broken = [
        f"frame {ack.frame} was altered"
        for ack, image, tokens, embedding in rows
        if snapshot.time_of(ack.frame) != ack.time
        or (not downsampled[ack.frame] and frame_crc(image, tokens, embedding) != ack.crc)
    ]
    for ack in acks:
        wanted_gone = any(start <= ack.time <= stop for start, stop in asked)
        too_old = evicting and ack.time < newest - keep_s
        if ack.frame not in present and not wanted_gone and not too_old:
            broken.append(f"frame {ack.frame} is missing")
    return broken


def _left(snapshot: MemorySnapshot, directory: Path, log: Path) -> list[str]:
    """Frames that were reported forgotten and are still there, and files that hold something of any forgotten frame."""
    _, done, _ = read_requests(log)
    inside = [snapshot.times[(snapshot.times >= start) & (snapshot.times <= stop)] for start, stop in done]
    broken = [f"forgotten, yet still remembered: {len(times)} frames" for times in inside if len(times)]
    for gone in snapshot.removed:
        if gone.reason == "forgotten":
            broken += traces(directory, gone, sealed=Manifest.read(directory).frames)
    return broken
