"""What one camera's memory holds, for `info` and for programs."""

from dataclasses import dataclass
from typing import Any

from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.records import Gap
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
            store=store_status(reader.held.path),
            tiers=Tiers.of(reader.held.path, snapshot),
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
