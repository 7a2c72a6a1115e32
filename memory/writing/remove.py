"""Forgetting on request and evicting by retention: the writer's steps. A crash may interrupt them anywhere.

Committed (removed, not erased) -> bytes erased -> committed (erased). The second step can be repeated. The next writer of the camera
repeats it if it was interrupted.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.durable import DISK_FULL
from afterview.memory.base.errors import RepositoryError, StoreUnreachable
from afterview.memory.base.failpoints import reach
from afterview.memory.format.generation_build import building_lock
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.unsealed import blank_frame
from afterview.memory.format.upload_state import PATIENCE_S, known_unreachable
from afterview.memory.index.files import forget_files, identity_of
from afterview.memory.plans.clip_marks import LOOSE, with_whole_clips
from afterview.memory.plans.removal import Limit, Removal, RemovalReason, add, cuts, present, runs
from afterview.memory.plans.retention import Limits, plan_evictions
from afterview.memory.remote.bucket import bucket_of
from afterview.memory.writing.disk_reserve import make_room
from afterview.memory.writing.erase import (
    Erased,
    blank_times,
    delete_whole,
    erase_evicted_answers,
    erase_leftovers,
    journal_traces,
    traces,
)
from afterview.memory.writing.erase_remote import erase_everywhere
from afterview.memory.writing.state import CameraState

BRIEF_S = 1.0  # that a recording waits for the bucket; eviction can wait for the next round


@dataclass(frozen=True)
class Forgotten:
    """What `forget` removed, and the proof that no file holds anything of it. (Where one does, `forget` raises.)"""

    removals: tuple[Removal, ...]
    erased: Erased
    checked: int  # frames whose every chunk was read again

    @property
    def frames(self) -> int:
        """How many frames were removed."""
        return sum(removal.frames for removal in self.removals)

    def to_dict(self) -> dict[str, Any]:
        """As JSON for people and programs."""
        return {
            "frames": self.frames,
            "ranges": [
                {"start": removal.start, "end": removal.stop, "frames": removal.frames, "first_frame": removal.first}
                for removal in self.removals
            ],
            "proof": {
                "files_deleted": self.erased.deleted,
                "files_rewritten": self.erased.rewritten,
                "files_overwritten": self.erased.overwritten,
                "bytes": self.erased.freed,
                "objects_deleted": self.erased.objects,
                "frames_checked": self.checked,
                "traces": 0,
            },
        }


def forget(state: CameraState, start: float, stop: float) -> Forgotten:
    """Remove every frame with start <= time <= stop from every file, and check that it is gone."""
    ids = _frames_in(state, start, stop)
    answers = erase_evicted_answers(state.directory, state.manifest.removed, start, stop)
    new = remove(state, runs(ids), "forgotten")
    done, left = _erase_all(state, [gone for gone in state.manifest.removed if not gone.erased], PATIENCE_S)
    if left is not None:
        raise StoreUnreachable(
            f"the frames are forgotten on this machine and no question sees them, but the store still has some of their chunks ({left}); "
            "the next watch deletes them when it answers, or run the command again"
        )
    checked = prove_forgotten(state, new)
    done.include(answers)
    return Forgotten(new, done, checked)


def prove_forgotten(state: CameraState, removals: Sequence[Removal]) -> int:
    """Read every file that could hold these frames. Raises OSError naming one that does; returns the number of frames."""
    for removal in removals:
        left = traces(state.directory, removal, sealed=state.manifest.frames)
        left += journal_traces(state.journal.path, removal)
        if left:
            raise OSError(f"{left[0]}; forgetting did not finish, run it again")
    return sum(removal.frames for removal in removals)


def enforce(state: CameraState, limits: Limits, keep: Sequence[tuple[float, float]]) -> Erased:
    """Evict what the limits no longer allow."""
    retry_removals(state)
    if limits.seconds is None and limits.bytes is None:
        return Erased()
    times = state.times()
    held = np.zeros(len(times), dtype=bool)
    held[present(len(times), state.manifest.removed)] = True
    evictions = plan_evictions(
        times, held, sealed=state.manifest.frames, limits=limits, used=state.usage.bytes, keep=keep, fps=state.info.fps
    )
    new = [gone for plan in evictions for gone in remove(state, plan.ranges, "evicted", limit=plan.limit)]
    if not new:
        return Erased()
    committed = [  # neighbours became one
        gone
        for gone in state.manifest.removed
        if not gone.erased and any(gone.first < part.end and part.first < gone.end for part in new)
    ]
    done = _erase_all(state, committed, BRIEF_S)[0]
    done.removals = tuple(new)
    state.usage.freed(done.freed)
    return done


def finish_interrupted(state: CameraState) -> None:
    """Complete interrupted removals on this machine. `retry_removals` does so in the bucket, so that opening never waits for it."""
    for removal in state.manifest.removed:
        if removal.erased and removal.end > state.unsealed.first:
            blank_unsealed(state, removal)  # their records may have been blanked in place
    _erase_all(state, [gone for gone in state.manifest.removed if not gone.erased], None)


def retry_removals(state: CameraState) -> None:
    """Complete removals that are not done in the bucket, unless it is known not to answer."""
    unfinished = [gone for gone in state.manifest.removed if not gone.erased]
    if unfinished and not known_unreachable(state.directory):
        _erase_all(state, unfinished, BRIEF_S)


def _erase_all(
    state: CameraState, removals: Sequence[Removal], patience_s: float | None
) -> tuple[Erased, RepositoryError | None]:
    """Erase what is committed as removed. The error says why some of it is still in the bucket and so not committed as erased."""
    done = Erased()
    left: RepositoryError | None = None
    finished = []
    if (
        removals and bucket_of(state.directory) is None
    ):  # with a bucket, `erase_everywhere` keeps its uploader away first
        with building_lock(state.directory):
            for removal in removals:
                done.include(
                    delete_whole(state.directory, removal, state.manifest.removed, sealed=state.manifest.frames)
                )
    for removal in removals:
        erased, error = _erase(state, removal, patience_s)
        done.include(erased)
        left = left or error
        if error is None:
            finished.append(removal)
    _mark_erased(state, finished)
    return done, left


def remove(
    state: CameraState, ranges: Sequence[tuple[int, int]], reason: RemovalReason, *, limit: Limit | None = None
) -> tuple[Removal, ...]:
    """Commit ranges of frames as removed: no reader sees them from here on. Their bytes still exist."""
    times = state.times()
    now, verb = time.time(), "forget" if reason == "forgotten" else "evict"
    gone = [removal for removal in state.manifest.removed if removal.reason != "damaged"]
    held = present(len(times), gone)
    ranges = [
        run for first, end in ranges for run in runs(held[np.searchsorted(held, first) : np.searchsorted(held, end)])
    ]
    new = tuple(
        Removal(first, end, *_ends(times[first:end], state), reason, now, erased=False, limit=limit)
        for first, end in ranges
    )
    kept = [piece for removal in state.manifest.removed for piece in _not_taken_over(removal, new)]
    reach(f"{verb}.before-commit")
    if new:
        _commit(state, replace(state.manifest, removed=add(kept, new)))
    reach(f"{verb}.after-commit")
    return new


def _commit(state: CameraState, manifest: Manifest) -> None:
    """Put the manifest in force. A full disk is no obstacle, unless it was full before this camera could prepare for that."""
    try:
        state.put_manifest(manifest)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        make_room(state.directory)
        state.put_manifest(manifest)
        Manifest.settle(state.directory)  # with the room that this won


def _not_taken_over(removal: Removal, new: Sequence[Removal]) -> list[Removal]:
    """The parts of a removal that `new` does not replace. Only a range lost to damage can overlap new ones."""
    if removal.reason != "damaged":
        return [removal]
    left = np.setdiff1d(
        np.arange(removal.first, removal.end), np.concatenate([np.arange(0), *(np.arange(n.first, n.end) for n in new)])
    )
    return [replace(removal, first=first, end=end) for first, end in runs(left)]


def _ends(times: NDArray[np.float64], state: CameraState) -> tuple[float, float]:
    sound = times[np.isfinite(times)]
    if len(sound):
        return float(sound[0]), float(sound[-1])
    last = state.last_time or 0.0
    return last, last


def _frames_in(state: CameraState, start: float, stop: float) -> NDArray[np.int64]:
    """Ids in the span that are remembered or were lost to damage: what is left of the latter must be erased, too."""
    times = state.times()
    gone = [removal for removal in state.manifest.removed if removal.reason != "damaged"]
    ids = present(len(times), gone)
    inside = ids[(times[ids] >= start) & (times[ids] <= stop)]
    lost = [removal for removal in state.manifest.removed if removal.reason == "damaged"]
    whole = [np.arange(gone.first, gone.end) for gone in lost if gone.start <= stop and gone.stop >= start]
    if len(inside):  # frames with a damaged time are in the span if their neighbours are
        unknown = ids[np.isnan(times[ids])]
        whole.append(unknown[(unknown > inside[0]) & (unknown < inside[-1])])
    return _with_clips(state, np.unique(np.concatenate([inside, *whole])).astype(np.int64), ids)


def _with_clips(state: CameraState, chosen: NDArray[np.int64], held: NDArray[np.int64]) -> NDArray[np.int64]:
    """These ids, and the other frames of their clips: merged tokens show all frames of a clip. held: frames that are remembered."""
    if not state.spec.tokens.clip_marks or not len(chosen):
        return chosen
    every = np.union1d(chosen, held)
    marks = np.zeros(len(every), dtype=np.uint8)
    sealed = int(np.searchsorted(every, state.unsealed.first))
    if sealed:
        marks[:sealed] = state.sealed.clip_marks(every[:sealed])
    marks[sealed:] = [state.unsealed.frames[frame - state.unsealed.first].clip or LOOSE for frame in every[sealed:]]
    return every[with_whole_clips(np.isin(every, chosen), every, marks)]


def _erase(state: CameraState, removal: Removal, patience_s: float | None) -> tuple[Erased, RepositoryError | None]:
    """Files that can be deleted go first: on a full disk, that wins the room for those that must be rewritten."""
    directory, manifest, done = state.directory, state.manifest, Erased()
    shares = cuts(removal, manifest.removed)
    blank_unsealed(state, removal)
    identity = identity_of(state.info, state.spec, manifest.generation, manifest.removed)
    done.deleted += forget_files(directory / "index", removal.first, removal.end, identity, whole=not shares)
    with building_lock(directory):  # a generation that is being built must not restore the frames
        if removal.reason == "forgotten":
            done.include(erase_leftovers(directory, removal))
        erased, left = erase_everywhere(
            directory, removal, manifest.removed, sealed=manifest.frames, patience_s=patience_s
        )
        done.include(erased)
    if shares:
        _blank_journal(state, removal, done)
    reach("forget.after-erase" if removal.reason == "forgotten" else "evict.after-erase")
    return done, left


def blank_unsealed(state: CameraState, removal: Removal) -> None:
    """Blank removed frames that are not sealed, in memory; their places stay."""
    unsealed, blank = state.unsealed, blank_times(removal)
    rows = range(max(0, removal.first - unsealed.first), min(len(unsealed.frames), removal.end - unsealed.first))
    for row in rows:
        when = float(blank[unsealed.first + row - removal.first])
        unsealed.frames[row] = blank_frame(state.spec, time=when)
    state.set_sealed_times(removal.first, blank)


def _blank_journal(state: CameraState, removal: Removal, done: Erased) -> None:
    """Blank removed frames in the journal; on a full disk where they lie."""
    try:
        state.journal.replace(state.unsealed.entries())
    except OSError as error:
        if error.errno not in DISK_FULL or state.journal.suspect:
            raise
        times = blank_times(removal).tolist()
        state.journal.blank(dict(zip(range(removal.first, removal.end), times, strict=True)))
        done.overwritten += 1


def _mark_erased(state: CameraState, removals: Sequence[Removal]) -> None:
    if removals:
        ranges = {(removal.first, removal.end) for removal in removals}
        marked = [
            replace(gone, erased=True) if (gone.first, gone.end) in ranges else gone for gone in state.manifest.removed
        ]
        state.put_manifest(replace(state.manifest, removed=add(marked, ())))
