"""What one camera's memory holds, for `info` and for programs."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.documents import FORMAT_VERSION
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.iso_times import with_iso
from afterview.memory.base.lock import Writer, may_be_written_here, writer_of
from afterview.memory.base.recorder import recorder_state
from afterview.memory.base.records import Gap
from afterview.memory.directory import Memory
from afterview.memory.format.answer_files import saved_directories
from afterview.memory.plans.removal import Limit, Removal
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.rules import CameraRules
from afterview.memory.reading.tiers import Tiers
from afterview.memory.sync.status import StoreStatus, store_status


@dataclass(frozen=True)
class Evictions:
    """What retention has deleted of a camera: `frames`. last_at: when it last did. limit: by which limit; None if unknown."""

    frames: int = 0
    last_at: float | None = None
    limit: Limit | None = None

    @classmethod
    def of(cls, removed: Sequence[Removal]) -> "Evictions":
        """The evictions among these removals."""
        evicted = [gone for gone in removed if gone.reason == "evicted"]
        if not evicted:
            return cls()
        last = max(evicted, key=lambda gone: gone.at)
        return cls(sum(gone.frames for gone in evicted), last.at, last.limit)

    def to_dict(self, info: CameraInfo) -> dict[str, Any]:
        """As JSON for people and programs."""
        iso = None if self.last_at is None else info.iso(self.last_at)
        return {"frames": self.frames, "last_at": self.last_at, "last_at_iso": iso, "last_limit": self.limit}


@dataclass(frozen=True)
class CameraDescription:
    """One camera. first_time, last_time: of the frames that are remembered; None without frames. bytes: on this machine.

    time_basis: how many frames have their time from which clock. gaps: the lasting one last. store: None where there is none.
    removed: spans that are no longer remembered. writer: the process that records or changes the camera now. recording: whether one records
    it; None for a copy, which does not know. lag_s: age of the newest frame, seconds; None without frames. state: what the process that
    records it says of its source and of itself; None if none does, or does not answer.
    """

    info: CameraInfo
    spec: FeatureSpec
    frames: int
    first_time: float | None
    last_time: float | None
    time_basis: dict[str, int]
    gaps: tuple[Gap, ...]
    bytes: int
    store: StoreStatus | None
    tiers: Tiers
    journal_damage: str  # why frames that are not sealed are missing here; empty if none is
    damaged: int  # sealed frames that are missing here because their times cannot be read
    removed: tuple[Removal, ...]
    rules: CameraRules
    writer: Writer | None
    recording: bool | None
    lag_s: float | None
    evictions: Evictions
    pictures_damaged: int  # frames whose picture lacks parts that were lost between camera and record
    state: dict[str, Any] | None = None

    @classmethod
    def of(cls, reader: CameraReader, *, now: float | None = None) -> "CameraDescription":
        """Describe a camera as it is now, Unix seconds (default: the present)."""
        writer, now = writer_of(reader.held.path), time.time() if now is None else now
        records = bool(writer and writer.recording)
        snapshot = reader.snapshot()
        lasting = (snapshot.open_gap,) if snapshot.open_gap else ()
        return cls(
            info=reader.info,
            spec=snapshot.spec,
            frames=snapshot.frames,
            first_time=float(snapshot.times[0]) if snapshot.frames else None,
            last_time=float(snapshot.times[-1]) if snapshot.frames else None,
            time_basis=snapshot.time_bases(snapshot.ids),
            gaps=(*snapshot.gaps, *lasting),
            bytes=reader.bytes_on_disk(),
            store=store_status(reader.held.path, snapshot),
            tiers=Tiers.of(reader.held.path, snapshot),
            journal_damage=reader.journal_damage,
            damaged=len(snapshot.damaged),
            removed=snapshot.removed,
            rules=CameraRules.of(reader.held.path),
            writer=writer,
            recording=records if may_be_written_here(reader.held.path) else None,
            lag_s=now - float(snapshot.times[-1]) if snapshot.frames else None,
            evictions=Evictions.of(snapshot.removed),
            state=recorder_state(reader.held.path) if records else None,
            pictures_damaged=int(snapshot.pictures_damaged(snapshot.ids).sum()),
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON, with ISO times in the camera's zone."""
        document = {
            "camera": self.info.id,
            "id": self.info.id,
            "name": self.info.name,
            "frames": self.frames,
            "first_time": self.first_time,
            "last_time": self.last_time,
            "time_basis": self.time_basis,
            "gaps": [gap.to_dict() for gap in self.gaps],
            "bytes": self.bytes,
            "store": self.store and self.store.to_dict(self.info),
            "tiers": self.tiers.to_dict(),
            "journal_damage": self.journal_damage or None,
            "damaged_frames": self.damaged,
            "pictures_damaged": self.pictures_damaged,
            "evictions": self.evictions.to_dict(self.info),
            "spec": self.spec.model_dump(),
            "fps": self.info.fps,
            "timezone": self.info.timezone,
            "no_longer_remembered": [removal.to_dict() for removal in self.removed],
            **self.rules.to_dict(),
            "recording": self.recording,
            "writer": self.writer and self.writer.to_dict(),
            "lag_s": None if self.lag_s is None else round(self.lag_s, 3),
            "state": self.state,
        }
        return dict(with_iso(document, {}, self.info))


@dataclass(frozen=True)
class MemoryDescription:
    """The cameras of a memory, sorted by id. skipped: those that cannot be read, by id, and why. Iterating gives the cameras.

    answers: how many answers and searches are saved, and answer_bytes: what they take; a copy of a memory on a store has none.
    """

    cameras: tuple[CameraDescription, ...]
    skipped: dict[str, str]
    answers: int = 0
    answer_bytes: int = 0

    @classmethod
    def of(cls, memory: Memory) -> "MemoryDescription":
        """Describe a memory as it is now. Raises RepositoryError, which names each camera, if none can be read."""
        found = memory.each(CameraDescription.of)
        saved = saved_directories(memory.held.path)
        return cls(tuple(found.results.values()), found.skipped, len(saved), sum(one.bytes for one in saved))

    def __iter__(self) -> Iterator[CameraDescription]:
        return iter(self.cameras)

    def __len__(self) -> int:
        return len(self.cameras)

    def to_dict(self) -> dict[str, Any]:
        """As JSON: the document that `afterview info --json` prints."""
        return {
            "format": FORMAT_VERSION,
            "cameras": [camera.to_dict() for camera in self.cameras],
            "skipped": self.skipped,
            "answers": {"saved": self.answers, "bytes": self.answer_bytes},
        }
