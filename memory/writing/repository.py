"""Writing one camera: journal first, then sealed chunks, then the manifest.

The camera's directory is opened once, and everything is written through that descriptor (memory.base.held_directory): if it is moved,
replaced or deleted meanwhile, nothing is written elsewhere, and CameraMoved ends the recording before another frame is acknowledged.

A frame is durable once `sync` has returned: it survives a kill at any moment and a power cut. A frame that was appended but not synced may
be lost and is never acknowledged. Threads: one at a time (the caller's writer thread).
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.durable import DISK_FULL, remove_held
from afterview.memory.base.errors import CameraMoved
from afterview.memory.base.failpoints import reach
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.held_directory import hold
from afterview.memory.base.lock import CameraLock
from afterview.memory.base.moved import deleted, moved
from afterview.memory.base.records import SEAL_FRAMES, FrameRecord, Gap, GapReason, frame_crc
from afterview.memory.base.settings import has_settings
from afterview.memory.format.generation_build import drop_given_up
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.unsealed import frame_record, gap_record
from afterview.memory.format.usage import Usage
from afterview.memory.index.files import drop_unfinished
from afterview.memory.plans.retention import Limits
from afterview.memory.plans.silence import SourcePace
from afterview.memory.writing.disk_reserve import Reserve
from afterview.memory.writing.downsample import AT_ONCE, downsample_oldest, finish_downsampling
from afterview.memory.writing.erase import Erased
from afterview.memory.writing.leftovers import drop_unfinished_writes
from afterview.memory.writing.reembed import Encode, Reembedded, switch
from afterview.memory.writing.remove import Forgotten, enforce, finish_interrupted, forget
from afterview.memory.writing.state import CameraState


@dataclass(frozen=True)
class Acknowledgement:
    """This frame is durable. crc: of its image, tokens and embedding (memory.base.records.frame_crc)."""

    frame: int
    time: float
    crc: int


class Repository:
    """One camera, open for writing. Only one exists at a time (CameraBusy otherwise); readers need none."""

    def __init__(self, state: CameraState, lock: CameraLock) -> None:
        """Use `open_camera`. Recovers what a crash left: an unfinished record is cut, sealed rows beyond the manifest are ignored."""
        self._state, self._lock = state, lock
        self._held = hold(state.directory)  # open as long as this object exists
        self._closed = False
        self._synced = state.unsealed.end
        self._durable: list[Acknowledgement] = []  # not reported yet
        self.seal_error: OSError | None = None  # why the latest seal had to wait
        self.reserve = Reserve(state.directory)
        self._next_gap: GapReason | None = None
        self._joint: GapReason | None = None  # see goes_on; why a long silence before the next frame is a gap
        self._pace = SourcePace(1 / state.info.fps)
        if state.last_time is not None:
            lasting = state.unsealed.open_gap  # an outage or a pause before the last process ended stays that
            self._next_gap = "crashed" if lasting is None else lasting.reason
        self._drop_torn_clip()
        finish_interrupted(state)
        finish_downsampling(state)
        drop_given_up(state.directory, state.manifest.generation)
        drop_unfinished(state.directory / "index")
        if lock.last_died:
            drop_unfinished_writes(state.directory)

    def _drop_torn_clip(self) -> None:
        """Take back the first frames of a clip that a crash cut off. They were never acknowledged: a clip is, as a whole."""
        unsealed = self._state.unsealed
        if torn := unsealed.torn:
            del unsealed.frames[-torn:]
            unsealed.gaps = [gap for gap in unsealed.gaps if gap.before_frame < unsealed.end]
            self._state.journal.replace(unsealed.entries())
            self._synced, self._state.last_time = unsealed.end, self._state.newest_time()

    @property
    def directory(self) -> Path:
        """The camera's directory, through the descriptor that this object holds: valid as long as the object exists."""
        return self._state.directory

    @property
    def info(self) -> CameraInfo:
        """The camera."""
        return self._state.info

    @property
    def spec(self) -> FeatureSpec:
        """The spec of the generation in use."""
        return self._state.spec

    @property
    def manifest(self) -> Manifest:
        """The manifest in force."""
        return self._state.manifest

    @property
    def usage(self) -> Usage:
        """How many bytes the camera takes."""
        return self._state.usage

    @property
    def frames(self) -> int:
        """Number of frames ever recorded: the id of the next one."""
        return self._state.unsealed.end

    @property
    def last_time(self) -> float | None:
        """Canonical time of the newest frame, Unix seconds."""
        return self._state.last_time

    def append(self, frame: FrameRecord) -> int:
        """Write one frame to the journal; returns its id. Readers may see it at once; it is durable after `sync`.

        Raises ValueError if its time does not follow the last one, or if its features do not fit the spec.
        """
        self._check(frame)
        frame = frame.stored_as(self.spec.tokens.storage)
        if not self.spec.tokens.clip_marks:  # also of merged tokens, in a memory of an earlier version
            frame = replace(frame, clip=None)
        gap = self._gap_before(frame.time)
        if gap:
            self._state.journal.append(*gap_record(gap))
            self._state.unsealed.add_gap(gap)
        frame_id = self._state.unsealed.end
        self._state.journal.append(*frame_record(frame_id, frame))
        self._state.unsealed.frames.append(frame)
        if self._state.last_time is not None and self._next_gap is None and self._joint is None:
            self._pace.add(frame.time - self._state.last_time)
        self._state.last_time, self._next_gap, self._joint = frame.time, None, None
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
        if frame.clip is None and tokens.clip_marks:
            raise ValueError("the frame does not say its clip; the spec says clip_marks")
        if not (np.isfinite(frame.tokens).all() and np.isfinite(frame.embedding).all()):
            raise ValueError("features hold NaN or infinity: the encoder overflowed; run it in float32 or bfloat16")
        if self._state.last_time is not None and not frame.time > self._state.last_time:
            raise ValueError(f"frame time {frame.time} does not follow the last one, {self._state.last_time}")

    def _gap_before(self, time: float) -> Gap | None:
        if self._state.last_time is None:
            return None
        silence, period = time - self._state.last_time, 1 / self.info.fps
        reason = self._next_gap
        if reason is None:
            reason = (self._joint or "jump") if self._pace.is_hole(silence) else None
        if reason is None or silence < 1.5 * period:
            return None  # nothing is missing: the frame came on time
        return Gap(self._state.last_time, time, reason, self._state.unsealed.end)

    def interrupted(self, reason: GapReason) -> None:
        """Start a gap because of `reason`; the next frame ends it. Durable, so that readers can report it."""
        if self._state.last_time is None or self._next_gap is not None:
            return
        self._next_gap = reason
        gap = Gap(self._state.last_time, math.nan, reason, -1)
        self._state.unsealed.open_gap = gap
        self._state.journal.append(*gap_record(gap))
        self._make_durable()

    def allow_silence(self, seconds: float) -> None:
        """The next step between two frames may be so long without a gap. After that step the source's own pace is known."""
        self._pace.allow(seconds)

    def goes_on(self, reason: GapReason, steps: Sequence[float] | None = None) -> None:
        """The next frame continues the archive that the newest frame is from, though another process may have written that one: only a
        silence that is longer than the source's pace is a gap. steps: seconds between the latest frames of the file that goes on; None: the
        next frame is the first one of its file, and the gap is there because of `reason`."""
        self._next_gap, self._joint = None, reason if steps is None else None
        self._pace.restart(steps or ())

    def missed(self, reason: GapReason) -> None:
        """Note that frames before the next one were lost here because of `reason`."""
        self._next_gap = self._next_gap or reason

    def sync(self) -> list[Acknowledgement]:
        """Make everything appended durable; returns what became durable. Seals whole chunks.

        Raises OSError if the disk refuses, above all if it is full; nothing is lost, and the caller may try again later. If the disk
        has room for the journal but not for a seal, this does not fail: the frames are durable, and a later call seals them.
        Raises CameraMoved.
        """
        with self._in_place(
            before=False
        ):  # one look a frame: what is sealed in a directory that was moved harms nobody
            self._make_durable()
            try:
                while len(self._state.unsealed.frames) >= SEAL_FRAMES:
                    self._seal()
                self.seal_error = None
            except OSError as error:
                if error.errno not in DISK_FULL:
                    raise
                self.seal_error = error
        acknowledged, self._durable = self._durable, []
        return acknowledged

    def require_in_place(self) -> None:
        """Raise CameraMoved if the directory was moved, replaced or deleted. Every other method here checks; call this when idle."""
        if not self._held.in_place:
            raise moved(self._held, frames=self._synced)
        if not self._closed and self._state.journal.is_deleted:
            raise deleted(self._held.place, frames=self._synced)

    @contextmanager
    def _in_place(self, *, before: bool = True) -> Iterator[None]:
        """Check before and after some work. A failure of the work is explained by a directory that is gone."""
        if before:
            self.require_in_place()
        try:
            yield
        except Exception:
            self.require_in_place()
            raise
        self.require_in_place()

    def _make_durable(self) -> None:
        """The first half of `sync`: make everything appended durable. The next `sync` reports it."""
        unsealed, journal = self._state.unsealed, self._state.journal
        if journal.suspect:
            journal.replace(unsealed.entries())
        journal.sync()
        start, end = max(0, self._synced - unsealed.first), len(unsealed.frames) - unsealed.torn
        self._durable += [
            Acknowledgement(unsealed.first + row, frame.time, frame_crc(frame.image, frame.tokens, frame.embedding))
            for row, frame in enumerate(unsealed.frames[start:end], start)
        ]
        self._synced = max(self._synced, unsealed.first + end)

    def _seal(self) -> None:
        state, unsealed = self._state, self._state.unsealed
        first, end = unsealed.first, unsealed.first + SEAL_FRAMES
        reach("seal.before")
        state.sealed.write(first, unsealed.frames[:SEAL_FRAMES])
        gaps = [gap for gap in unsealed.gaps if gap.before_frame < end]
        state.sealed.write_gaps(state.manifest.gaps, gaps)
        reach("seal.before-commit")
        state.put_manifest(replace(state.manifest, frames=end, gaps=state.manifest.gaps + len(gaps)))
        reach("seal.after-commit")
        del unsealed.frames[:SEAL_FRAMES]
        unsealed.first, unsealed.gaps = end, unsealed.gaps[len(gaps) :]
        state.journal.replace(unsealed.entries())
        reach("seal.after-journal")
        state.usage.sealed(first)

    # --- changing the past ---

    def forget(self, start: float, stop: float) -> Forgotten:
        """Remove every frame with start <= time <= stop from every file. Raises OSError when a trace of them is left."""
        with self._in_place():
            self._make_durable()  # a forgotten frame must not come back from a record that was never synced
            return forget(self._state, start, stop)

    def enforce(self, limits: Limits, keep: Sequence[tuple[float, float]] = ()) -> Erased:
        """Evict what the limits no longer allow, spans in `keep` excepted; returns what was erased."""
        with self._in_place():
            return enforce(self._state, limits, keep)

    def downsample(
        self, seconds: float | None, keep: Sequence[tuple[float, float]] = (), *, at_most: int = AT_ONCE
    ) -> int:
        """Downsample at most so many of the oldest seals that are older than `seconds`; returns how many frames that was."""
        with self._in_place():
            return downsample_oldest(self._state, seconds, keep, at_most=at_most)

    def switch(self, generation: int, spec: FeatureSpec, encode: Encode, *, keep_old: bool = False) -> Reembedded:
        """Finish a generation that was built for `spec`, put it in use, and write it from here on. See memory.writing.reembed."""
        with self._in_place():
            self._make_durable()
            return switch(self._state, generation, spec, encode, keep_old=keep_old)

    def close(self) -> list[Acknowledgement]:
        """Sync, record that recording ends, release the camera. Returns what the last sync made durable.

        A camera that never held a frame is deleted, unless it has settings: a privacy mask must not vanish. Closing twice is allowed.
        Raises CameraMoved; the directory that was moved then ends like any other.
        """
        if self._closed:
            return []
        try:
            acknowledged = self.sync()
            self._note_end()
            self.require_in_place()
            self._end()
            if not self.frames and not has_settings(self.directory):
                remove_held(self._held)
        except CameraMoved as error:
            with suppress(OSError):  # the move is what must be told
                self._end()
            raise (error if self._held.in_place else moved(self._held, frames=self._synced)) from None
        finally:
            self._closed = True
            self._lock.close()
        return acknowledged

    def discard(self) -> None:
        """Delete the camera with everything in it, and release it: one that was created for work that then failed."""
        self._state.journal.close()
        self._closed = True
        try:
            remove_held(self._held)
        finally:
            self._lock.close()

    def _note_end(self) -> None:
        try:
            self.interrupted("not recording")
        except OSError as error:
            if error.errno not in DISK_FULL or self._state.unsealed.open_gap is None:
                raise
            self.reserve.release()
            self._state.journal.append(*gap_record(self._state.unsealed.open_gap))
            self._make_durable()

    def _end(self) -> None:
        if not self._closed:
            self._note_end()
            self._state.journal.close()
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
