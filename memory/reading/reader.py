"""Reading a camera, in any number of processes, with or without a writer. Readers take no lock and never block the writer."""

import logging
import math
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.camera import read_camera
from afterview.memory.base.errors import DamagedMemory, MemoryNotFound
from afterview.memory.base.held_directory import hold
from afterview.memory.base.lock import is_held
from afterview.memory.base.moved import explained, require_in_place, require_one
from afterview.memory.base.records import Gap
from afterview.memory.format.feature_spec_file import read_spec
from afterview.memory.format.journal import read_journal, scan
from afterview.memory.format.layout import is_replica, journal_name
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed import SealedFrames
from afterview.memory.format.times import GrowingTimes
from afterview.memory.format.unsealed import Unsealed, restore
from afterview.memory.format.usage import bytes_under
from afterview.memory.plans.removal import Removal, evicted_before, forgotten_frames
from afterview.memory.reading.snapshot import MemorySnapshot

_LOGGER = logging.getLogger(__name__)

_ATTEMPTS = 20  # a seal can replace the journal between two reads; a writer seals at most a few times a second


class CameraReader:
    """Takes snapshots of one camera. Keeps the times of sealed frames, so that a later snapshot reads only what is new.

    Any number of threads may take snapshots from one reader, and read their snapshots at the same time. A reader reads one directory,
    which it keeps open: if that is moved, its snapshots stay what they are, and the next one raises CameraMoved.

    directory: where it lay when it was opened. held: what to open files through.
    """

    def __init__(self, directory: Path) -> None:
        """Raises MemoryNotFound, FormatMismatch, DamagedMemory or Unreadable."""
        try:
            self.held = hold(directory)
        except OSError:
            read_camera(directory)  # raises the error that names the reason
            raise MemoryNotFound(f"{directory}: not a camera of a memory") from None
        self.directory, self._path = self.held.place, self.held.path
        self._lock = threading.Lock()  # of everything that `_open` sets
        self.journal_damage = ""  # why the latest snapshot has only sealed frames
        self.info = read_camera(self._path)
        self._open(Manifest.read(self._path).generation)

    def _open(self, generation: int) -> None:
        self._generation = generation
        self.spec = read_spec(self._path, generation)
        self._sealed = SealedFrames(self._path, generation)
        self._times = GrowingTimes()
        self._gaps: list[Gap] = []
        self._gaps_known = 0
        self._removed: Sequence[Removal] = ()

    def snapshot(self) -> MemorySnapshot:
        """Everything that is committed now. `damaged` names the frames that cannot be read; they are left out.

        Raises CameraMoved, and what opening the reader does.
        """
        require_in_place(self._path)
        with self._lock, explained(self._path):
            return self._snapshot()

    def _snapshot(self) -> MemorySnapshot:
        for _ in range(_ATTEMPTS):
            written = self._may_be_written()
            before = Manifest.read(self._path)
            if before.generation != self._generation:
                self._open(before.generation)
            self._catch_up(before)
            unsealed, damage = self._read_journal(before)
            if Manifest.read(self._path) == before:
                self._note_journal(damage)
                # If no process writes, before and after the journal is read, the last writer should have noted its end.
                crashed = not written and not self._may_be_written()
                return self._build(before, unsealed, crashed)
        raise DamagedMemory(f"{self.directory}: the manifest changed repeatedly during reading; try again")

    def forgot_since(self, snapshot: MemorySnapshot) -> bool:
        """Whether frames were forgotten after the snapshot was taken. Frames read from it since may be blank. Raises CameraMoved."""
        self.require_own(snapshot)
        return forgotten_frames(Manifest.read(self._path).removed) != forgotten_frames(snapshot.removed)

    def require_own(self, snapshot: MemorySnapshot) -> None:
        """Raise CameraMoved if the snapshot was taken from a directory whose place this reader's took."""
        require_one(self.held, snapshot.held)

    def _may_be_written(self) -> bool:
        """False if certainly no process writes this camera."""
        return is_held(self._path / "lock") is not False

    def _catch_up(self, manifest: Manifest) -> None:
        self._sealed.downsampled = manifest.downsampled
        if manifest.removed != self._removed:
            self._times = GrowingTimes(
                min(evicted_before(manifest.removed), manifest.frames)
            )  # forgetting blanks times
            self._removed = manifest.removed
        known = self._times.sealed
        if manifest.frames > known:
            self._times.seal(self._sealed.scalars("times", known, manifest.frames))
        if manifest.gaps > self._gaps_known:
            self._gaps, self._gaps_known = self._sealed.gaps(manifest.gaps), manifest.gaps

    def _read_journal(self, manifest: Manifest) -> tuple[Unsealed, str]:
        """The frames that are not sealed, and what is wrong with the journal: then some or all of them are missing."""
        nothing = Unsealed(manifest.frames)
        if is_replica(self._path, manifest.generation):
            return nothing, ""
        path = self._path / journal_name(manifest.generation)
        newest = self._gaps[-1].before_frame if self._gaps else -1
        remedy = "`afterview fsck --repair` records the frames in it as lost"
        try:
            found = scan(read_journal(path), where=str(path))
            unsealed = restore(found.records, self.spec, sealed=manifest.frames, sealed_gaps_before=newest)
        except DamagedMemory as error:
            return nothing, str(error)
        except (ValueError, LookupError, TypeError):  # sound records, but not of this camera
            return nothing, f"{path}: does not fit this camera; {remedy}"
        return unsealed, f"{path}: {found.damage[0]}; {remedy}" if found.damage else ""

    def _note_journal(self, damage: str) -> None:
        """Note what is wrong with the journal; the log says it when it changes."""
        if damage and damage != self.journal_damage:
            _LOGGER.warning("camera '%s': %s; the frames that are sealed can be read", self.info.id, damage)
        self.journal_damage = damage

    def _build(self, manifest: Manifest, unsealed: Unsealed, crashed: bool) -> MemorySnapshot:
        times, ids, damaged = self._times.remembered([frame.time for frame in unsealed.frames], manifest.removed)
        gaps = (*self._gaps, *unsealed.gaps)
        lasting = unsealed.open_gap
        if crashed and lasting is None and len(times):
            lasting = Gap(float(times[-1]), math.nan, "crashed", -1)
        return MemorySnapshot(
            self.info, self.spec, self._generation, times, ids, tuple(manifest.removed), damaged, gaps, lasting,
            self._sealed, manifest.frames, tuple(unsealed.frames),
        )  # fmt: skip

    def bytes_on_disk(self) -> int:
        """Total size of the files under the camera's directory, bytes."""
        return bytes_under(self._path)


def frames_between(times: NDArray[np.float64], start: float | None, end: float | None) -> tuple[int, int]:
    """The rows [first, end) of a snapshot's `times` with start <= time <= end; None: no limit on that side."""
    first = 0 if start is None else int(np.searchsorted(times, start, side="left"))
    last = len(times) if end is None else int(np.searchsorted(times, end, side="right"))
    return first, max(first, last)


def gaps_touching(snapshot: MemorySnapshot, start: float, end: float) -> Sequence[Gap]:
    """Gaps of the snapshot that overlap [start, end], including the lasting one."""
    closed = [gap for gap in snapshot.gaps if gap.start < end and gap.end > start]
    lasting = [snapshot.open_gap] if snapshot.open_gap and snapshot.open_gap.start < end else []
    return [*closed, *lasting]
