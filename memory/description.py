"""What one camera's memory holds, for `info` and for programs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.documents import FORMAT_VERSION
from afterview.memory.base.errors import RepositoryError
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.records import Gap
from afterview.memory.directory import Memory
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.tiers import Tiers
from afterview.memory.sync.status import StoreStatus, store_status


@dataclass(frozen=True)
class CameraDescription:
    """One camera. first_time, last_time: of the frames that are remembered; None without frames. bytes: on this machine.

    time_basis: how many frames have their time from which clock. gaps: the lasting one last. store: None where there is none.
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

    @classmethod
    def of(cls, reader: CameraReader) -> "CameraDescription":
        """Describe a camera as it is now."""
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
            store=store_status(reader.directory),
            tiers=Tiers.of(reader.directory, snapshot),
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": self.info.id,
            "name": self.info.name,
            "frames": self.frames,
            "first_time": self.first_time,
            "last_time": self.last_time,
            "time_basis": self.time_basis,
            "gaps": [gap.to_dict() for gap in self.gaps],
            "bytes": self.bytes,
            "store": self.store and self.store.to_dict(),
            "tiers": self.tiers.to_dict(),
            "spec": self.spec.model_dump(),
            "fps": self.info.fps,
            "timezone": self.info.timezone,
        }


@dataclass(frozen=True)
class MemoryDescription:
    """The cameras of a memory, sorted by id. skipped: those that cannot be read, by id, and why. Iterating gives the cameras."""

    cameras: tuple[CameraDescription, ...]
    skipped: dict[str, str]

    @classmethod
    def of(cls, memory: Memory) -> "MemoryDescription":
        """Describe a memory as it is now. Raises the first reason if no camera can be read."""
        cameras: list[CameraDescription] = []
        failures: dict[str, RepositoryError | OSError] = {}
        for name in memory.camera_ids():
            try:
                cameras.append(CameraDescription.of(memory.camera(name)))
            except (RepositoryError, OSError) as error:
                failures[name] = error
        if failures and not cameras:
            raise next(iter(failures.values()))
        return cls(tuple(cameras), {name: str(error) for name, error in failures.items()})

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
        }
