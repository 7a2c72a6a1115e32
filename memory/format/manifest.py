"""The manifest, `committed`: which of a camera's files are valid. Replacing it as a whole is the last step of every change."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from afterview.memory.base.documents import REPAIR, decode_json, encode_json, read_json
from afterview.memory.base.durable import DISK_FULL, write_file
from afterview.memory.base.errors import DamagedMemory
from afterview.memory.format import in_place
from afterview.memory.plans.downsampling import Downsampled
from afterview.memory.plans.removal import Removal


@dataclass(frozen=True)
class Manifest:
    """How many frames and gap records are sealed, and which generation is in use. removed: ranges of frames (ascending, disjoint).

    downsampled: frames of which this generation keeps fewer tokens (ascending, disjoint, whole seals).
    """

    frames: int
    gaps: int
    generation: int
    removed: Sequence[Removal] = field(default=())
    downsampled: Sequence[Downsampled] = field(default=())

    @classmethod
    def read(cls, camera: Path) -> "Manifest":
        """The manifest in force of the camera at `camera`. Raises MemoryNotFound, DamagedMemory, Unreadable."""
        committed = cls._committed(camera)
        newer = in_place.manifest_over(camera, committed.encode)
        return committed if newer is None else cls.decode(newer, where=str(camera / in_place.FILE))

    @classmethod
    def _committed(cls, camera: Path) -> "Manifest":
        path = camera / "committed"
        return cls._from(read_json(path, missing=f"{camera}: not a camera of a memory"), where=str(path))

    @classmethod
    def decode(cls, data: bytes, *, where: str, remedy: str = REPAIR) -> "Manifest":
        """What `encode` made. Raises DamagedMemory."""
        where = f"{where}: `committed`"
        return cls._from(decode_json(data, where=where, remedy=remedy), where=where, remedy=remedy)

    @classmethod
    def _from(cls, values: dict[str, Any], *, where: str, remedy: str = REPAIR) -> "Manifest":
        try:
            removed = tuple(Removal.from_json(item) for item in values.get("removed", []))
            downsampled = tuple(Downsampled(**part) for part in values.get("coarse", []))
            return cls(int(values["frames"]), int(values["gaps"]), int(values["generation"]), removed, downsampled)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            raise DamagedMemory(f"{where}: frames, gaps or generation is missing; {remedy}") from None

    def encode(self) -> bytes:
        """The content of `committed`."""
        counts = {"frames": self.frames, "gaps": self.gaps, "generation": self.generation}
        downsampled = {"coarse": [asdict(part) for part in self.downsampled]} if self.downsampled else {}
        return encode_json({**counts, "removed": [removal.to_json() for removal in self.removed], **downsampled})

    def write(self, camera: Path) -> None:
        """Replace the manifest, durably: from here on this one counts. On a full disk it takes a slot of `in-place`.

        Raises OSError if there is no slot either.
        """
        try:
            write_file(camera / "committed", self.encode())
        except OSError as error:
            if error.errno not in DISK_FULL or not (camera / "committed").exists():  # a new camera has no slots yet
                raise
            in_place.put_manifest(camera, self._committed(camera).encode(), self.encode())

    @classmethod
    def settle(cls, camera: Path) -> None:
        """Let `committed` be the manifest in force, and prepare for a full disk. Call it as the camera's writer."""
        manifest = cls.read(camera)
        try:
            if manifest != cls._committed(camera):
                write_file(camera / "committed", manifest.encode())
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            return  # it stays in its slot
        in_place.prepare(camera, manifest.encode())
