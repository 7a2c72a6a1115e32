"""The writing side of one camera's memory: journal first, then sealed chunks, then the committed count.

Durable means: `sync` has returned. A frame that was synced survives a kill at any moment and a power cut; one that was
appended but not synced may be lost, and is never acknowledged. Threads: one at a time (the caller's writer thread).
"""

import errno
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.camera import CameraInfo, camera_id, read_camera
from afterview.memory.base.durable import make_directory, remove_tree
from afterview.memory.base.errors import NotWritable, RepositoryError
from afterview.memory.base.failpoints import reach
from afterview.memory.base.lock import CameraLock
from afterview.memory.base.records import SEAL_FRAMES, FrameRecord, Gap, GapReason, frame_crc
from afterview.memory.base.spec import FeatureSpec, require_same
from afterview.memory.format.generation import GenerationFiles
from afterview.memory.format.generation_build import drop_given_up
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed import SealedFrames
from afterview.memory.format.spec_file import read_spec
from afterview.memory.format.unsealed import Unsealed, blank_frame, frame_record, gap_record
from afterview.memory.format.usage import Usage
from afterview.memory.index.files import drop_unfinished
from afterview.memory.plans.removal import Removal
from afterview.memory.plans.retention import Limits
from afterview.memory.writing import remove as removing
from afterview.memory.writing.create import create_camera
from afterview.memory.writing.downsample import finish_downsampling
from afterview.memory.writing.erase import Erased, blank_times
from afterview.memory.writing.leftovers import drop_unfinished_writes
from afterview.memory.writing.reserve import Reserve

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
LONG_SILENCE = 10.0  # seconds without a frame that count as a gap even when nothing said why


@dataclass(frozen=True)
class Acknowledgement:
    """This frame is durable. crc: of its image, tokens and embedding (memory.base.records.frame_crc)."""

    frame: int
    time: float
    crc: int


class Repository:
    """One camera's memory, open for writing. There is one at a time (CameraBusy otherwise); readers need none."""

    def __init__(self, directory: Path, info: CameraInfo, spec: FeatureSpec, lock: CameraLock) -> None:
        """Use `open_camera`. Recovers what a crash left: an unfinished record is cut, sealed rows beyond the commit ignored."""
        self.directory, self.info = directory, info
        self._lock = lock
        self._closed = False
        self._manifest = Manifest.read(directory)
        self._use(GenerationFiles.open(directory, self._manifest, spec))
        self._synced = self._unsealed.end
        self._fresh: list[Acknowledgement] = []  # durable, but not reported yet
        self.seal_error: OSError | None = None  # why the latest seal had to wait
        self._sealed_times: NDArray[np.float64] = np.empty(0)
        self.usage = Usage(directory)
        self.reserve = Reserve(directory)
        self._last_time = self._newest_time()
        self._next_gap: GapReason | None = None
        if self._last_time is not None:
            self._next_gap = "not recording" if self._unsealed.open_gap else "crashed"
        removing.finish_interrupted(self)
        finish_downsampling(self)
        drop_given_up(directory, self._manifest.generation)
        drop_unfinished(directory / "index")
        if lock.last_died:
            drop_unfinished_writes(directory)

    def go_on_in(self, files: GenerationFiles, manifest: Manifest) -> None:
        """Write another generation from here on: `manifest`, which counts already, put it in use. For memory.writing.reembed."""
        self._journal.close()
        self._manifest = manifest
        self._use(files)

    def _use(self, files: GenerationFiles) -> None:
        self.spec, self._sealed, self._journal, self._unsealed = files.spec, files.sealed, files.journal, files.unsealed

    def _newest_time(self) -> float | None:
        if self._unsealed.frames:
            return self._unsealed.frames[-1].time
        if not self._manifest.frames:
            return None
        newest = float(self._sealed.scalars("times", self._manifest.frames - 1, self._manifest.frames)[0])
        if math.isnan(newest) and self._manifest.removed:
            return self._manifest.removed[-1].stop
        return newest

    @property
    def frames(self) -> int:
        """How many frames were ever recorded: the id that the next one gets."""
        return self._unsealed.end

    @property
    def last_time(self) -> float | None:
        """Canonical time of the newest frame, Unix seconds."""
        return self._last_time

    @property
    def recovered_bytes(self) -> int:
        """Bytes of an unfinished record that were cut off when this was opened."""
        return self._journal.cut_bytes

    def append(self, frame: FrameRecord) -> int:
        """Write one frame to the journal; returns its id. Readers may see it at once; it is durable after `sync`.

        Raises ValueError when its time does not follow the last one, or its features are not of this memory's spec.
        """
        self._check(frame)
        frame = frame.stored_as(self.spec.tokens.storage)
        gap = self._gap_before(frame.time)
        if gap:
            self._journal.append(*gap_record(gap))
            self._unsealed.add_gap(gap)
        frame_id = self._unsealed.end
        self._journal.append(*frame_record(frame_id, frame))
        self._unsealed.frames.append(frame)
        self._last_time, self._next_gap = frame.time, None
        return frame_id

    def _check(self, frame: FrameRecord) -> None:
        tokens = self.spec.tokens
        shape = (tokens.tokens_per_frame, tokens.width)
        if frame.tokens.shape != shape or frame.tokens.dtype != tokens.dtype:
            raise ValueError(
                f"tokens are {frame.tokens.dtype} {frame.tokens.shape}, the spec says {tokens.dtype} {shape}"
            )
        if frame.embedding.shape != (self.spec.index.width,) or frame.embedding.dtype != np.float32:
            raise ValueError(f"embedding is {frame.embedding.shape}, the spec says float32 ({self.spec.index.width},)")
        if not (np.isfinite(frame.tokens).all() and np.isfinite(frame.embedding).all()):
            raise ValueError("features hold NaN or infinity: the encoder overflowed; run it in float32 or bfloat16")
        if self._last_time is not None and not frame.time > self._last_time:
            raise ValueError(f"frame time {frame.time} does not follow the last one, {self._last_time}")

    def _gap_before(self, time: float) -> Gap | None:
        if self._last_time is None:
            return None
        silence, period = time - self._last_time, 1 / self.info.fps
        reason = self._next_gap
        if reason is None and silence > max(LONG_SILENCE, 2.5 * period):
            reason = "jump"
        if reason is None or silence < 1.5 * period:
            return None  # nothing is missing: the next frame came when it was due
        return Gap(self._last_time, time, reason, self._unsealed.end)

    def interrupted(self, reason: GapReason) -> None:
        """From here on nothing comes in, because of `reason`; the next frame ends the gap. Durable, so that readers can say so."""
        if self._last_time is None or self._next_gap is not None:
            return
        self._next_gap = reason
        self._unsealed.open_gap = Gap(self._last_time, math.nan, reason, -1)
        self._journal.append(*gap_record(self._unsealed.open_gap))
        self.make_durable()

    def missed(self, reason: GapReason) -> None:
        """Frames before the next one were lost on this side, because of `reason`."""
        self._next_gap = self._next_gap or reason

    def sync(self) -> list[Acknowledgement]:
        """Make everything appended durable; returns what became so. Seals whole chunks on the way.

        Raises OSError when the disk refuses (a full disk above all); nothing is lost by trying again later. A disk that has room for
        the journal but not for a seal is no failure yet: the frames are durable, and are sealed by a later call.
        """
        self.make_durable()
        try:
            while len(self._unsealed.frames) >= SEAL_FRAMES:
                self._seal()
            self.seal_error = None
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            self.seal_error = error
        fresh, self._fresh = self._fresh, []
        return fresh

    def make_durable(self) -> None:
        """The first half of `sync`: everything appended is durable; what became so is reported by the next `sync`."""
        if self._journal.suspect:
            self._journal.replace(self._unsealed.entries())
        self._journal.sync()
        start = max(0, self._synced - self._unsealed.first)
        self._fresh += [
            Acknowledgement(
                self._unsealed.first + row, frame.time, frame_crc(frame.image, frame.tokens, frame.embedding)
            )
            for row, frame in enumerate(self._unsealed.frames[start:], start)
        ]
        self._synced = self._unsealed.end

    def _seal(self) -> None:
        unsealed, end = self._unsealed, self._unsealed.first + SEAL_FRAMES
        reach("seal.before")
        self._sealed.write(unsealed.first, unsealed.frames[:SEAL_FRAMES])
        gaps = [gap for gap in unsealed.gaps if gap.before_frame < end]
        self._sealed.write_gaps(self._manifest.gaps, gaps)
        reach("seal.before-commit")
        self.put_manifest(replace(self._manifest, frames=end, gaps=self._manifest.gaps + len(gaps)))
        reach("seal.after-commit")
        del unsealed.frames[:SEAL_FRAMES]
        unsealed.first, unsealed.gaps = end, unsealed.gaps[len(gaps) :]
        self._journal.replace(unsealed.entries())
        reach("seal.after-journal")
        self.usage.sealed(end - SEAL_FRAMES)

    @property
    def manifest(self) -> Manifest:
        """What counts at present."""
        return self._manifest

    def put_manifest(self, manifest: Manifest) -> None:
        """Make `manifest` count, durably. For the modules of this room that remove frames."""
        manifest.write(self.directory)
        self._manifest = manifest  # only now: a failed write has changed nothing

    @property
    def sealed(self) -> SealedFrames:
        """The sealed frames. For the modules of this room."""
        return self._sealed

    def unsealed(self) -> Unsealed:
        """Frames and gaps that are not sealed. For the modules of this room; not to be changed."""
        return self._unsealed

    def times(self) -> NDArray[np.float64]:
        """Times of all frames by id, float64 [frames]; NaN where they are evicted or damaged."""
        known = len(self._sealed_times)
        if known < self._manifest.frames:
            fresh = self._sealed.scalars("times", known, self._manifest.frames)
            self._sealed_times = np.concatenate([self._sealed_times, fresh])
        return np.concatenate([self._sealed_times, [frame.time for frame in self._unsealed.frames]])

    def blank_unsealed(self, removal: Removal) -> None:
        """Take forgotten frames out of the journal; their places stay."""
        unsealed, blank = self._unsealed, blank_times(removal)
        rows = range(max(0, removal.first - unsealed.first), min(len(unsealed.frames), removal.end - unsealed.first))
        for row in rows:
            when = float(blank[unsealed.first + row - removal.first])
            unsealed.frames[row] = blank_frame(self.spec, time=when)
        self._sealed_times[removal.first : removal.end] = blank[: max(0, len(self._sealed_times) - removal.first)]
        if removal.reason == "forgotten":
            self._journal.replace(unsealed.entries())

    def forget(self, start: float, stop: float) -> removing.Forgotten:
        """Remove every frame with start <= time <= stop from every file. Raises OSError when a trace of them is left."""
        return removing.forget(self, start, stop)

    def enforce(self, limits: Limits, keep: Sequence[tuple[float, float]] = ()) -> Erased:
        """Evict what the limits no longer allow, spans in `keep` excepted; returns what went."""
        return removing.enforce(self, limits, keep)

    def close(self) -> list[Acknowledgement]:
        """Sync, note that recording ends here, release the camera. Returns what the last sync made durable.

        A camera that never held a frame is removed again. Closing twice is fine.
        """
        if self._closed:
            return []
        self._closed = True
        try:
            fresh = self.sync()
            self.interrupted("not recording")
            self._journal.close()
            if not self.frames:
                remove_tree(self.directory)
        finally:
            self._lock.close()
        return fresh

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_camera(
    memory: Path, name: str, spec: FeatureSpec, *, fps: float = 1.0, timezone: str | None = None
) -> Repository:
    """Open the camera called `name` in the memory at `memory` for writing, creating either where it is not there.

    Raises NotWritable, CameraBusy (which process has it), SpecMismatch (names reembed), FormatMismatch, DamagedMemory.
    """
    directory = memory / camera_id(name)
    if (memory / "__init__.py").exists():  # in a clone of this project `--memory memory` would be its own source
        raise NotWritable(f"memory {memory}: is a Python package, not a memory; name another directory")
    try:
        make_directory(directory)
        lock = CameraLock(directory / "lock", camera=directory.name)
    except OSError as error:
        raise NotWritable(f"memory {memory}: cannot be written: {os.strerror(error.errno or 0)}") from None
    try:
        if not (directory / "camera.json").exists():
            create_camera(directory, name, spec, fps=fps, timezone=timezone)
        info = read_camera(directory)
        if info.fps != fps:
            raise RepositoryError(
                f"camera '{info.id}' keeps {info.fps:g} frames per second, not {fps:g}; use --fps {info.fps:g}"
            )
        stored = read_spec(directory, Manifest.read(directory).generation)
        require_same(stored, spec, where=f"camera '{info.id}'")
        return Repository(directory, info, stored, lock)
    except OSError as error:
        lock.close()
        raise NotWritable(f"memory {memory}: cannot be written: {os.strerror(error.errno or 0)}") from None
    except BaseException:
        lock.close()
        raise
