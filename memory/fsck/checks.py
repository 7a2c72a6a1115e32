"""The invariants of one camera, each checked against the files. Read-only; runs beside a writer; loads neither torch nor faiss.

The order matters for repair. The files that say how to read the others (camera.json, committed, spec, array metadata) come first. If one of
them is wrong, nothing after it is checked.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afterview.configs import why_unreadable
from afterview.memory.base.camera import SETTINGS, read_camera
from afterview.memory.base.durable import unfinished_files
from afterview.memory.base.errors import (
    DamagedMemory,
    FormatMismatch,
    MemoryNotFound,
    RepositoryError,
    Unreadable,
    require_content,
)
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.base.settings import read_memory_settings, read_settings
from afterview.memory.format.arrays import ZarrArrays
from afterview.memory.format.feature_spec_file import read_spec, spec_path
from afterview.memory.format.generations import camera_arrays
from afterview.memory.format.image_packs import are_offsets, are_times
from afterview.memory.format.in_place import as_finished
from afterview.memory.format.layout import (
    GAP_CHUNK,
    IMAGES,
    MISSING,
    StoredArray,
    checksum_holds,
    downsampled_arrays,
    gaps_array,
    generation_name,
    is_missing,
)
from afterview.memory.format.manifest import Manifest
from afterview.memory.fsck.check_journal import check_journal
from afterview.memory.fsck.check_remote import RemoteChunks, check_store
from afterview.memory.fsck.findings import Finding
from afterview.memory.fsck.refused import guarded
from afterview.memory.fsck.repair import Repair
from afterview.memory.fsck.repair_documents import begin_memory_settings, begin_settings, fetch_spec
from afterview.memory.plans.downsampling import ARRAYS, downsampled_mask
from afterview.memory.plans.removal import present, runs
from afterview.memory.remote.settings import FILE as STORE
from afterview.memory.remote.settings import read_store
from afterview.memory.writing.erase import traces

GAPS = gaps_array()
_UNIT_TOLERANCE = 1e-3


def check_camera(camera: Path, *, deep: bool = False) -> list[Finding]:
    """Everything that is wrong with the camera at `camera`; empty if it is sound.

    Remote-only chunks must exist and have the right size; deep: every one is read.
    """
    repair = Repair(camera)
    for stage in (_check_identity, _check_metadata):
        found = list(guarded(stage(camera, repair), camera))
        if any(finding.severity != "note" for finding in found):
            return found
    manifest = Manifest.read(camera)
    remote = RemoteChunks(camera, deep=deep)
    stages = (
        check_store(camera, manifest, remote),
        _check_removals(camera, manifest, repair),
        _check_chunks(camera, manifest, repair, remote),
        _check_times(camera, manifest, repair),
        _check_features(camera, manifest, repair, remote),
        _check_gaps(camera, manifest, repair),
        check_journal(camera, manifest),
        _check_leftovers(camera, repair),
    )
    return [finding for stage in stages for finding in guarded(stage, camera)]


def _check_identity(camera: Path, repair: Repair) -> Iterator[Finding]:
    """camera.json, committed, spec.json, settings.json, and the files beside the cameras."""
    try:
        read_camera(camera)
    except (DamagedMemory, MemoryNotFound) as error:
        yield Finding(camera / "camera.json", _reason(error), fix=repair.rebuild_camera)
    try:
        manifest = Manifest.read(camera)
    except (DamagedMemory, MemoryNotFound) as error:
        yield Finding(camera / "committed", _reason(error), fix=repair.rebuild_manifest)
        return
    try:
        read_spec(camera, manifest.generation)
    except Unreadable:
        raise
    except RepositoryError as error:
        fix = None if isinstance(error, FormatMismatch) else fetch_spec(camera, manifest.generation)
        yield Finding(spec_path(camera, manifest.generation), _reason(error), fix=fix)
    try:
        read_settings(camera)
    except DamagedMemory as error:
        what = f"{_reason(error)}; its limits, kept spans and privacy masks are lost"
        yield Finding(camera / SETTINGS, what, fix=begin_settings(camera))
    yield from _check_memory(camera.parent)


def _check_memory(memory: Path) -> Iterator[Finding]:
    """The files beside the cameras."""
    try:
        read_memory_settings(memory)
    except DamagedMemory as error:
        what = f"{_reason(error)}; the limits of the whole memory are lost"
        yield Finding(memory / SETTINGS, what, fix=begin_memory_settings(memory))
    try:
        read_store(memory)
    except DamagedMemory as error:
        yield Finding(memory / STORE, f"{_reason(error)}; name the store again with `afterview store set`")


def _reason(error: RepositoryError) -> str:
    text = str(error).partition(": ")[2] or str(error)
    return text.partition(";")[0]


def _check_metadata(camera: Path, repair: Repair) -> Iterator[Finding]:
    """zarr.json of every group and array exists, has the right type, and is large enough for the committed rows."""
    manifest = Manifest.read(camera)
    for group in ("", "frames", IMAGES, generation_name(manifest.generation)):
        path = camera / group / "zarr.json"
        wrong = _wrong_group(path)
        if wrong:
            yield Finding(path, wrong, fix=repair.group(path))
    downsampled, zarr_arrays = (
        max((part.end for part in manifest.downsampled), default=0),
        ZarrArrays(camera, writable=False),
    )
    wanted = [
        (array, downsampled if _is_downsampled(array) else manifest.frames) for array in _arrays(camera, manifest)
    ]
    for array, rows in [*wanted, (GAPS, manifest.gaps)]:
        wrong = zarr_arrays.wrong(array, rows)
        if wrong:
            yield Finding(camera / array.name / "zarr.json", wrong, fix=repair.metadata(array, rows))


def _wrong_group(path: Path) -> str | None:
    try:
        about = json.loads(path.read_text())
        return None if about["node_type"] == "group" and about["zarr_format"] == 3 else "does not describe a group"
    except (OSError, ValueError, LookupError, TypeError) as error:
        require_content(error, path)
        return f"is missing or unreadable ({why_unreadable(error)})"


def _arrays(camera: Path, manifest: Manifest) -> list[StoredArray]:
    """The arrays that must exist: downsampled ones if the manifest names downsampled frames."""
    arrays = [array for array in camera_arrays(camera, manifest.generation) if not _is_downsampled(array)]
    if manifest.downsampled:
        arrays += downsampled_arrays(manifest.generation, read_spec(camera, manifest.generation))
    return arrays


def _is_downsampled(array: StoredArray) -> bool:
    return array.name.rpartition("/")[2] in ARRAYS.values()


def _check_removals(camera: Path, manifest: Manifest, repair: Repair) -> Iterator[Finding]:
    path, end = camera / "committed", 0
    for gone in manifest.removed:
        if gone.first < end or gone.end <= gone.first or gone.start > gone.stop:
            what = f"removed frames {gone.first} to {gone.end} overlap or are not a range"
            yield Finding(path, what, fix=repair.rebuild_manifest)
        end = gone.end
        if not gone.erased:
            what = f"removal of frames {gone.first} to {gone.end - 1} was interrupted; the next writer finishes it"
            yield Finding(path, what, severity="note", fix=repair.finish_removals)
        elif gone.reason == "forgotten":
            for trace in traces(camera, gone, sealed=manifest.frames):
                where, _, what = trace.rpartition(": ")
                yield Finding(Path(where), f"still holds {what}", (gone.first, gone.end), fix=repair.erase_again(gone))


def _check_chunks(camera: Path, manifest: Manifest, repair: Repair, remote: RemoteChunks) -> Iterator[Finding]:
    """Every chunk that holds a remembered frame exists and is whole."""
    every = present(manifest.frames, manifest.removed)
    downsampled = downsampled_mask(manifest.frames, manifest.downsampled)
    for array in _arrays(camera, manifest):
        ids = every[downsampled[every]] if _is_downsampled(array) else every
        if array.name.rpartition("/")[2] in ARRAYS:
            ids = every[~downsampled[every]]
        for chunk in np.unique(ids // array.chunk).tolist():
            lost = _within(ids, chunk * array.chunk, (chunk + 1) * array.chunk)
            try:
                wrong = array.check(camera, chunk)
            except Unreadable as error:
                yield _unchecked(error, lost)
                continue
            if wrong == MISSING:
                wrong = remote.check(str(array.file(camera, chunk).relative_to(camera)), array.chunk_bytes)
            if wrong:
                yield Finding(array.file(camera, chunk), wrong, _range(lost), fix=repair.chunk(array, chunk, lost))
    ids = every
    for seal in np.unique(ids // SEAL_FRAMES).tolist():
        lost = _within(ids, seal * SEAL_FRAMES, (seal + 1) * SEAL_FRAMES)
        try:
            wrong = check_images(camera / IMAGES / str(seal), remote)
        except Unreadable as error:
            yield _unchecked(error, lost)
            continue
        if wrong:
            yield Finding(camera / IMAGES / str(seal), wrong, _range(lost), fix=repair.images(seal))


def _unchecked(error: Unreadable, frames: NDArray[np.int64]) -> Finding:
    return Finding(error.path, str(error).removeprefix(f"{error.path}: "), _range(frames), severity="unchecked")


def check_images(directory: Path, remote: RemoteChunks) -> str | None:
    """What is wrong with one seal's images, or None. Raises Unreadable."""
    try:
        about = json.loads(_read(directory / "zarr.json"))["attributes"]
        offsets, times = about["offsets"], about["times"]
        data = _read(directory / "c.0") if (directory / "c.0").exists() else None
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except (OSError, ValueError, LookupError, TypeError) as error:
        require_content(error, directory)
        return "its offsets are unreadable"
    if not (are_offsets(offsets) and are_times(times)):
        return "its offsets are invalid"
    if data is None:
        return remote.check(f"{IMAGES}/{directory.name}/c.0", max(1, offsets[-1]) + 4, name="c.0 ")
    if len(data) != max(1, offsets[-1]) + 4:
        return f"has {len(data)} bytes instead of {max(1, offsets[-1]) + 4}"
    return None if checksum_holds(data) else "fails its checksum"


def _read(path: Path) -> bytes:
    camera = path.parents[len(Path(IMAGES).parts) + 1]
    return as_finished(camera, path, path.read_bytes())


def _within(ids: NDArray[np.int64], first: int, end: int) -> NDArray[np.int64]:
    low, high = np.searchsorted(ids, (first, end))
    return ids[low:high]


def _range(ids: NDArray[np.int64]) -> tuple[int, int]:
    return int(ids[0]), int(ids[-1]) + 1


def sealed_rows(
    camera: Path, array: StoredArray, frames: int, remote: RemoteChunks | None = None
) -> Iterator[tuple[int, NDArray[np.generic]]]:
    """(first frame, rows) of every sound chunk, cut at the committed count; with `remote`, also of chunks in the bucket."""
    for chunk in array.chunks(0, frames):
        try:
            wrong = array.check(camera, chunk)
            rows = array.rows(camera, chunk) if wrong is None else None
        except Unreadable:
            continue  # reported already
        if wrong == MISSING and remote is not None:
            rows = remote.rows(array, chunk)
        if rows is not None:
            yield chunk * array.chunk, rows[: frames - chunk * array.chunk]


def _check_times(camera: Path, manifest: Manifest, repair: Repair) -> Iterator[Finding]:
    array = next(array for array in _arrays(camera, manifest) if array.name == "frames/times")
    times = np.full(manifest.frames, np.nan)
    for first, rows in sealed_rows(camera, array, manifest.frames):
        times[first : first + len(rows)] = rows
    ids = present(manifest.frames, manifest.removed)
    ids = ids[np.isfinite(times[ids])]  # the others belong to chunks that were reported already
    back = np.flatnonzero(np.diff(times[ids]) <= 0)
    for place in back[:10].tolist():
        frame = int(ids[place + 1])
        yield Finding(
            array.file(camera, frame // array.chunk), f"the time of frame {frame} does not follow that of frame {ids[place]}",
            (frame, frame + 1), fix=repair.drop_frames(np.array([frame])),
        )  # fmt: skip


def _check_features(camera: Path, manifest: Manifest, repair: Repair, remote: RemoteChunks) -> Iterator[Finding]:
    """Tokens and scales are numbers; embeddings have unit length (or zero if they were lost: search leaves them out)."""
    keep = np.zeros(manifest.frames, dtype=bool)
    keep[present(manifest.frames, manifest.removed)] = True
    name = f"generation-{manifest.generation}/"
    for array in _arrays(camera, manifest):
        if not array.name.startswith(name):
            continue
        for first, rows in sealed_rows(camera, array, manifest.frames, remote if remote.deep else None):
            bad = _unsound(array, rows.reshape(len(rows), -1))
            wrong = first + np.flatnonzero(bad & keep[first : first + len(rows)])
            for start, end in runs(wrong):
                what = "not a unit vector" if array.name.endswith("embeddings") else "not a number"
                yield Finding(
                    array.file(camera, start // array.chunk), f"the row of frame {start} is {what}", (start, end),
                    fix=repair.drop_frames(np.arange(start, end)),
                )  # fmt: skip


def _unsound(array: StoredArray, rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of these feature rows [frames, values] cannot have been written by this software."""
    bad: NDArray[np.bool_] = is_missing(rows) if rows.dtype == np.int8 else ~np.isfinite(rows)
    if array.name.endswith("scales"):  # also those of downsampled tokens
        bad = bad | (rows < 0)
    if array.name.endswith("embeddings"):
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        bad = bad | ((np.abs(length - 1) > _UNIT_TOLERANCE) & (length > 0))
    return np.asarray(bad.any(axis=1))


def _check_gaps(camera: Path, manifest: Manifest, repair: Repair) -> Iterator[Finding]:
    for chunk in GAPS.chunks(0, manifest.gaps) if manifest.gaps else ():
        wrong = GAPS.check(camera, chunk)
        if wrong is None:
            rows = GAPS.rows(camera, chunk)[: manifest.gaps - chunk * GAP_CHUNK].astype(np.float64)
            sound = np.isfinite(rows).all() and (rows[:, 1] > rows[:, 0]).all() and (np.diff(rows[:, 2]) > 0).all()
            wrong = None if sound else "holds gaps that end before they begin or are out of order"
        if wrong:
            yield Finding(GAPS.file(camera, chunk), wrong, fix=repair.rebuild_gaps)


def _check_leftovers(camera: Path, repair: Repair) -> Iterator[Finding]:
    for path in unfinished_files(camera):
        yield Finding(
            path,
            "was being written when the process died; readers ignore it",
            severity="note",
            fix=repair.delete_unfinished(path),
        )
