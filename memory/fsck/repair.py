"""Repairing one camera. Each repair keeps every frame that can still be read, and reports what it cost.

Nothing is invented. Times are restored from their second copy beside the images, and gaps from the times. Lost features and images stay
lost, and their frames are recorded as lost to damage. Call only with the camera's lock held.
"""

import math
import time
from collections.abc import Callable, Container
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from afterview.memory.base.camera import CameraInfo, creation_time, local_timezone, read_camera, write_camera
from afterview.memory.base.durable import fsync_directory, remove_tree, unlink, write_file
from afterview.memory.base.errors import DamagedMemory, RepositoryError
from afterview.memory.base.records import HOLE_STEPS, SEAL_FRAMES, Gap
from afterview.memory.format.generations import camera_arrays
from afterview.memory.format.image_packs import image_attributes
from afterview.memory.format.layout import IMAGES, StoredArray, generations, with_checksum
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed import SealedFrames
from afterview.memory.format.sealed_writer import SealedWriter
from afterview.memory.format.upload_state import FILE as UPLOAD_STATE
from afterview.memory.format.upload_state import FRAMES, note_changed
from afterview.memory.format.zarr_store import CameraStore
from afterview.memory.fsck.repair_journal import sound_records
from afterview.memory.index.files import index_lock
from afterview.memory.plans.clip_marks import LOOSE
from afterview.memory.plans.downsampling import ARRAYS, Downsampled, add_downsampled
from afterview.memory.plans.removal import Removal, add, present, runs
from afterview.memory.remote.bucket import bucket_of
from afterview.memory.sync.publish import published_removals
from afterview.memory.sync.restore import restore_chunk
from afterview.memory.writing.erase import erase
from afterview.memory.writing.leftovers import alone

Fix = Callable[[], str]


class Repair:
    """The repairs of one camera."""

    def __init__(self, camera: Path) -> None:
        self._camera = camera

    # --- files that say how to read others ---

    def rebuild_camera(self) -> str:
        """camera.json from the bucket, or else rebuilt: the id from the directory's name, the rate from the frames.

        Raises StoreError if there may be a copy that cannot be fetched now: to the store, a rebuilt camera would be another one.
        """
        bucket = bucket_of(self._camera) if (self._camera / UPLOAD_STATE).exists() else None
        theirs = None if bucket is None else bucket.read("camera.json")
        if theirs is not None:
            write_file(self._camera / "camera.json", theirs)
            return f"restored from the store: name '{read_camera(self._camera).name}'"
        times = np.sort(self._second_times())
        steps = np.diff(times[np.isfinite(times)])
        fps = round(1 / float(np.median(steps)), 3) if len(steps) else 1.0
        name, zone = self._camera.name, local_timezone()
        write_camera(self._camera, CameraInfo(name, name, fps, zone, 0, creation_time()))
        return f"rebuilt: name '{name}' (record with --camera {name}), {fps:g} frames per second, time zone {zone}"

    def rebuild_manifest(self) -> str:
        """`committed` from the existing files: the seals whose images exist, and the newest generation with a spec.

        Published removals are taken from the bucket. Raises StoreError if it does not answer.
        """
        specs = [
            number
            for number in generations(self._camera)
            if (self._camera / f"generation-{number}" / "spec.json").exists()
        ]
        if not specs:
            raise DamagedMemory(f"{self._camera}: no generation has a spec; nothing can be rebuilt")
        present_seals = sorted(int(entry.name) for entry in (self._camera / IMAGES).glob("*") if entry.name.isdigit())
        journal = sound_records(self._camera, specs[-1]) or ()
        first_unsealed = min(
            (record.header["id"] for record in journal if record.header["type"] == "frame"), default=None
        )
        frames = (present_seals[-1] + 1) * SEAL_FRAMES if present_seals else 0
        if first_unsealed is not None:
            frames = min(frames, -(-first_unsealed // SEAL_FRAMES) * SEAL_FRAMES) if first_unsealed else 0
        bucket = bucket_of(self._camera) if (self._camera / UPLOAD_STATE).exists() else None
        remote = {} if bucket is None else bucket.sizes()
        removed = published_removals(bucket, specs[-1], frames) if bucket is not None else ()
        Manifest(frames, 0, specs[-1], removed, self._downsampled(frames, specs[-1], remote)).write(self._camera)
        absent = [seal for seal in range(frames // SEAL_FRAMES) if seal not in set(present_seals)]
        gone = np.array([seal * SEAL_FRAMES + row for seal in absent for row in range(SEAL_FRAMES)], dtype=np.int64)
        blank = self._blank_frames(frames, specs[-1])
        self._remove(np.union1d(gone, blank))
        return f"rebuilt: {frames} sealed frames, {len(gone) + len(blank)} of them no longer there"

    def _downsampled(self, frames: int, generation: int, remote: Container[str]) -> tuple[Downsampled, ...]:
        """Seals that exist only in downsampled form. remote: keys in the bucket."""
        arrays = {array.name.rpartition("/")[2]: array for array in camera_arrays(self._camera, generation)}
        if ARRAYS["tokens"] not in arrays:
            return ()
        there = {
            name: {seal for seal in range(frames // SEAL_FRAMES) if self._any(arrays[name], seal, remote)}
            for name in ("tokens", ARRAYS["tokens"])
        }
        alone = sorted(there[ARRAYS["tokens"]] - there["tokens"])
        return add_downsampled((Downsampled(seal * SEAL_FRAMES, (seal + 1) * SEAL_FRAMES) for seal in alone), ())

    def _any(self, array: StoredArray, seal: int, remote: Container[str]) -> bool:
        chunks = array.chunks(seal * SEAL_FRAMES, (seal + 1) * SEAL_FRAMES)
        files = [array.file(self._camera, chunk) for chunk in chunks]
        return any(file.exists() or str(file.relative_to(self._camera)) in remote for file in files)

    def _blank_frames(self, frames: int, generation: int) -> NDArray[np.int64]:
        """Frames whose embedding is zero: they were forgotten."""
        name = f"generation-{generation}/embeddings"
        array = next(array for array in camera_arrays(self._camera) if array.name == name)
        blank: list[int] = []
        for chunk in array.chunks(0, frames):
            if array.check(self._camera, chunk) is None:
                zero = ~np.asarray(array.rows(self._camera, chunk)).any(axis=1)
                blank += (chunk * array.chunk + np.flatnonzero(zero)).tolist()
        return np.array([frame for frame in blank if frame < frames], dtype=np.int64)

    def metadata(self, array: StoredArray, rows: int) -> Fix:
        """Rebuild an array's zarr.json."""

        def fix() -> str:
            unlink(self._camera / array.name / "zarr.json")
            store = CameraStore(self._camera)
            for group in (Path(array.name).parent, Path("frames/images")):
                if not (self._camera / group / "zarr.json").exists():
                    zarr.create_group(store, path=str(group))
            SealedWriter(self._camera, 0).create_array(array, rows)
            return "rebuilt"

        return fix

    # --- chunks ---

    def chunk(self, array: StoredArray, chunk: int, lost: NDArray[np.int64]) -> Fix:
        """Restore a chunk that cannot be read, or give up its frames."""
        kind = array.name.rsplit("/", 1)[-1]

        def fix() -> str:
            place = (array.name.partition("/")[0], chunk * array.chunk // SEAL_FRAMES)
            key = str(array.file(self._camera, chunk).relative_to(self._camera))
            if array.chunk <= SEAL_FRAMES and restore_chunk(self._camera, key, place, array.chunk_bytes):
                return "fetched from the store"
            if kind in (*ARRAYS, *ARRAYS.values()):
                self._remove(lost)
                return (
                    f"{len(lost)} frames are recorded as lost to damage; `reembed` can rebuild them from their images"
                )
            if kind == "embeddings":
                self._write(array, chunk, np.zeros((array.chunk, *array.row), dtype=array.dtype))
                return f"{len(lost)} frames can no longer be found by search; they are still remembered"
            if kind == "clips":
                self._write(array, chunk, np.full(array.chunk, LOOSE, dtype=array.dtype))
                return (
                    f"{len(lost)} frames are seen by no question until `reembed` rebuilds their clips from their images"
                )
            times = self._second_times()[chunk * array.chunk : (chunk + 1) * array.chunk]
            rows = np.full(array.chunk, 0 if kind == "time_basis" else np.nan, dtype=array.dtype)
            if kind in ("times", "arrival_times"):
                rows[: len(times)] = times
            self._write(array, chunk, rows)
            unknown = lost[np.isnan(self._second_times()[lost])] if kind == "times" else lost[:0]
            self._remove(unknown)
            return (
                f"rebuilt from the copy beside the images{f'; {len(unknown)} frames are lost' if len(unknown) else ''}"
            )

        return fix

    def _write(self, array: StoredArray, chunk: int, rows: NDArray[np.generic]) -> None:
        write_file(array.file(self._camera, chunk), with_checksum(rows.tobytes()))
        if array.chunk <= SEAL_FRAMES:
            note_changed(self._camera, {(array.name.partition("/")[0], chunk * array.chunk // SEAL_FRAMES)})

    def images(self, seal: int) -> Fix:
        """Restore the images of a seal from the bucket, or leave its frames without images."""

        def fix() -> str:
            about = image_attributes(self._camera, seal)
            size = max(1, about["offsets"][-1]) + 4 if about else 0
            if restore_chunk(self._camera, f"{IMAGES}/{seal}/c.0", (FRAMES, seal), size):
                return "fetched from the store"
            times = self._times(Manifest.read(self._camera).frames)[seal * SEAL_FRAMES : (seal + 1) * SEAL_FRAMES]
            remove_tree(self._camera / IMAGES / str(seal))
            SealedWriter(self._camera, 0).write_images(seal, [b""] * SEAL_FRAMES, np.nan_to_num(times).tolist())
            note_changed(self._camera, {(FRAMES, seal)})
            return f"the images of {SEAL_FRAMES} frames are lost; the frames are still remembered"

        return fix

    def _times(self, frames: int) -> NDArray[np.float64]:
        return SealedFrames(self._camera, 0).scalars("times", 0, frames)

    def _second_times(self) -> NDArray[np.float64]:
        """Times by frame from the copies beside the images; NaN without a copy."""
        try:
            frames = Manifest.read(self._camera).frames
        except RepositoryError:
            frames = SEAL_FRAMES * (
                1 + max((int(e.name) for e in (self._camera / IMAGES).glob("*") if e.name.isdigit()), default=-1)
            )
        times = np.full(frames, np.nan)
        for seal in range(frames // SEAL_FRAMES):
            about = image_attributes(self._camera, seal)
            if about:
                times[seal * SEAL_FRAMES : (seal + 1) * SEAL_FRAMES] = about["times"]
        return times

    def drop_frames(self, frames: NDArray[np.int64]) -> Fix:
        """Give up frames with invalid rows."""

        def fix() -> str:
            self._remove(frames)
            return f"{len(frames)} frames are recorded as lost to damage"

        return fix

    def _remove(self, frames: NDArray[np.int64]) -> None:
        """Record frames as lost to damage: readers leave them out."""
        manifest = Manifest.read(self._camera)
        frames = np.intersect1d(frames, present(int(frames.max(initial=-1)) + 1, manifest.removed))
        if not len(frames):
            return
        times = np.concatenate(
            [self._times(manifest.frames), np.full(max(0, int(frames[-1]) + 1 - manifest.frames), np.nan)]
        )
        now = time.time()
        new = [
            Removal(first, end, *_ends(times, first, end), "damaged", now, erased=True) for first, end in runs(frames)
        ]
        replace(manifest, removed=add(manifest.removed, new)).write(self._camera)

    # --- other files ---

    def finish_removals(self) -> str:
        """Erase what an interrupted removal left. (The next writer blanks frames in the journal.)"""
        manifest = Manifest.read(self._camera)
        for removal in manifest.removed:
            if not removal.erased:
                erase(self._camera, removal, manifest.removed, sealed=manifest.frames)
        return "the sealed frames are erased; the next writer completes the removal"

    def erase_again(self, removal: Removal) -> Fix:
        """Erase what is left of a forgotten range."""

        def fix() -> str:
            manifest = Manifest.read(self._camera)
            erase(self._camera, removal, manifest.removed, sealed=manifest.frames)
            return "erased"

        return fix

    def rebuild_gaps(self) -> str:
        """Rebuild the gaps from the times. Their reasons are lost."""
        manifest = Manifest.read(self._camera)
        times = self._times(manifest.frames)
        ids = np.flatnonzero(np.isfinite(times))
        steps = np.diff(times[ids])
        usual = np.median(steps) if len(steps) else math.inf
        places = np.flatnonzero((steps > HOLE_STEPS * usual) & (np.diff(ids) == 1))  # not where frames were forgotten
        gaps = [
            Gap(float(times[ids[at]]), float(times[ids[at + 1]]), "jump", int(ids[at + 1])) for at in places.tolist()
        ]
        for file in (self._camera / "frames" / "gaps").glob("c.*"):
            unlink(file)
        SealedWriter(self._camera, manifest.generation).write_gaps(0, gaps)
        replace(manifest, gaps=len(gaps)).write(self._camera)
        return f"{len(gaps)} gaps rebuilt from the times; their reasons are lost"

    def group(self, path: Path) -> Fix:
        """Rebuild a Zarr group's zarr.json, which only says that there is a group."""

        def fix() -> str:
            unlink(path)
            group = str(path.parent.relative_to(self._camera))
            zarr.create_group(CameraStore(self._camera), path="" if group == "." else group)
            return "rebuilt"

        return fix

    def delete_unfinished(self, path: Path) -> Fix:
        """Delete an unfinished file of a crash. Other processes that write such files hold one of these locks."""

        def fix() -> str:
            index = index_lock(path.parent) if path.parent.name == "index" else nullcontext()
            with alone(self._camera), index:
                if unlink(path):
                    fsync_directory(path.parent)
            return "deleted"

        return fix


def _ends(times: NDArray[np.float64], first: int, end: int) -> tuple[float, float]:
    """First and last known time of a range, or else of the frames around it."""
    inside = times[first:end][np.isfinite(times[first:end])]
    if len(inside):
        return float(inside[0]), float(inside[-1])
    before, after = times[:first][np.isfinite(times[:first])], times[end:][np.isfinite(times[end:])]
    low = float(before[-1]) if len(before) else (float(after[0]) if len(after) else 0.0)
    return low, float(after[0]) if len(after) else low
