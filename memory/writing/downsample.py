"""Downsampling old frames: the writer's steps, a few seals at a time. A crash may interrupt them anywhere.

Downsampled chunks written -> committed as downsampled -> full chunks deleted -> committed as erased. Readers take the chunk that exists, so
they see every frame at every moment. (Codes are deleted before their scales; either without the other counts as missing.) The steps before
the commit can be repeated. The next writer repeats the one after it.

The writer never waits for a bucket. For seals whose full tokens are remote only, the uploader writes the downsampled chunks here
(`write_from_store`), and it deletes the full chunks there (memory.sync.upload) before the writer commits them as erased.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.durable import DISK_FULL, make_directory, write_file
from afterview.memory.base.errors import (
    DamagedFrames,
    DamagedMemory,
    StoreUnreachable,
    UnreachableFrames,
    UnreachableOnStore,
)
from afterview.memory.base.failpoints import reach
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.int8_tokens import quantise
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.generation_build import building_lock
from afterview.memory.format.layout import (
    StoredArray,
    downsampled_arrays,
    feature_arrays,
    generation_name,
    with_checksum,
)
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed import SealedFrames
from afterview.memory.format.upload_state import UploadState
from afterview.memory.plans.downsampling import (
    ARRAYS,
    Downsampled,
    add_downsampled,
    can_downsample,
    downsample,
    downsampled_mask,
)
from afterview.memory.plans.removal import present
from afterview.memory.plans.retention import plan_downsampling
from afterview.memory.writing.erase import Erased
from afterview.memory.writing.state import CameraState

AT_ONCE = 4  # seals; this takes the write thread a fifth of a second


def downsample_oldest(
    state: CameraState, seconds: float | None, keep: Sequence[tuple[float, float]], *, at_most: int = AT_ONCE
) -> int:
    """Downsample the oldest seals that are older than `seconds`; returns the number of frames.

    Skips seals that cannot be read, merged tokens, and seals that the uploader has not fetched from the bucket yet.
    """
    manifest = state.manifest
    finish_downsampling(state)
    if seconds is None or not can_downsample(state.spec.tokens):
        return 0
    times = state.times()[: manifest.frames]
    done: list[Downsampled] = []
    for first in _within_reach(state, due(manifest, times, seconds, keep)):
        try:
            if len(done) < at_most and _write(state, first):
                done.append(Downsampled(first, first + SEAL_FRAMES, erased=False))
        except OSError as error:
            if error.errno not in DISK_FULL or not done:
                raise
            break  # those that are done make room for the next ones
    reach("thin.before-commit")
    if done:
        manifest = state.manifest
        state.put_manifest(replace(manifest, downsampled=add_downsampled(manifest.downsampled, done)))
        reach("thin.after-commit")
        finish_downsampling(state)
    return SEAL_FRAMES * len(done)


def due(
    manifest: Manifest, times: NDArray[np.float64], seconds: float, keep: Sequence[tuple[float, float]]
) -> list[int]:
    """First frames of the seals that are due for downsampling, oldest first. times: of all sealed frames."""
    held = np.zeros(manifest.frames, dtype=bool)
    held[present(manifest.frames, manifest.removed)] = True
    held &= ~downsampled_mask(manifest.frames, manifest.downsampled)
    return plan_downsampling(times, held, seconds=seconds, keep=keep)


def _within_reach(state: CameraState, chosen: Sequence[int]) -> list[int]:
    """Those of these seals whose full tokens are local, or whose downsampled chunks the uploader has written."""
    camera, generation = state.directory, state.manifest.generation
    remote_only = _released(camera, generation)
    ready = written(camera, generation, state.spec)
    return [first for first in chosen if first // SEAL_FRAMES >= remote_only or first // SEAL_FRAMES in ready]


def _released(camera: Path, generation: int) -> int:
    """How many seals are remote only."""
    try:
        tree = UploadState.read(camera).trees.get(generation_name(generation))
    except DamagedMemory:
        return Manifest.read(camera).frames // SEAL_FRAMES  # `fsck` reports it; until then any seal may be remote only
    return tree.released if tree else 0


def written(camera: Path, generation: int, spec: FeatureSpec) -> set[int]:
    """Seals whose downsampled chunks are all local."""
    names = [
        {path.name.split(".")[1] for path in (camera / array.name).glob("c.*")}
        for array in downsampled_arrays(generation, spec)
    ]
    return {int(name) for name in set.intersection(*names) if name.isdigit()}


def _write(state: CameraState, first: int) -> bool:
    """Write the downsampled chunks of a seal; False if its tokens cannot be read."""
    manifest, spec, seal = state.manifest, state.spec, first // SEAL_FRAMES
    camera = state.directory
    if seal < _released(camera, manifest.generation):
        state.sealed.make_downsampled_arrays(first + SEAL_FRAMES, spec)
        return all(array.check(camera, seal) is None for array in downsampled_arrays(manifest.generation, spec))
    try:
        rows = downsampled_rows(state.sealed, manifest, spec, first)
    except UnreachableFrames:
        return False  # released at this moment
    if rows is not None:
        state.sealed.write_downsampled(first, spec, rows)
    return rows is not None


def downsampled_rows(
    sealed: SealedFrames, manifest: Manifest, spec: FeatureSpec, first: int
) -> dict[str, NDArray[np.generic]] | None:
    """The downsampled tokens of a seal, by the names of the full arrays; None if one cannot be read. Raises UnreachableFrames."""
    ids = np.arange(first, first + SEAL_FRAMES)
    gone = np.setdiff1d(ids, present(first + SEAL_FRAMES, manifest.removed)) - first
    try:
        tokens = sealed.tokens(ids)
    except DamagedFrames as error:
        if np.setdiff1d(error.frames - first, gone).size:
            return None
        held = np.setdiff1d(ids, error.frames)
        tokens = np.zeros((SEAL_FRAMES, spec.tokens.tokens_per_frame, spec.tokens.width), dtype=np.float16)
        tokens[held - first] = sealed.tokens(held)
    tokens[gone] = 0
    rows = downsample(tokens)
    return {"tokens": rows} if spec.tokens.storage == "float16" else quantise(rows).arrays


def write_from_store(camera: Path, manifest: Manifest, spec: FeatureSpec, first: int) -> bool:
    """Download and downsample a seal whose full tokens are remote only, and write the chunks here; False if they cannot be read.

    Call with `uploaded.lock` held, so that no process forgets frames of the seal meanwhile. Raises StoreUnreachable.
    """
    try:
        rows = downsampled_rows(SealedFrames(camera, manifest.generation), manifest, spec, first)
    except UnreachableOnStore as error:
        raise StoreUnreachable(str(error)) from None
    if rows is None:
        return False
    arrays = {array.name.rpartition("/")[2]: array for array in downsampled_arrays(manifest.generation, spec)}
    for name, data in rows.items():
        path = arrays[ARRAYS[name]].file(camera, first // SEAL_FRAMES)  # not through Zarr: the writer owns the arrays
        make_directory(path.parent)
        write_file(path, with_checksum(np.ascontiguousarray(data).tobytes()))
    return True


def finish_downsampling(state: CameraState) -> None:
    """Delete the full chunks of downsampled seals. Commit them as erased once the bucket has deleted them, too."""
    camera, manifest = state.directory, state.manifest
    unfinished = [part for part in manifest.downsampled if not part.erased]
    if not unfinished:
        return
    done = Erased()
    with building_lock(camera):
        for array in _full_arrays(state):
            for part in unfinished:
                for chunk in array.chunks(part.first, part.end):
                    done.drop(array.file(camera, chunk))
            reach("thin.half-erased")
    state.usage.freed(done.freed)
    seals = [first for part in unfinished for first in range(part.first, part.end, SEAL_FRAMES)]
    finished = _finished(state, seals)
    if finished:
        others = [part for part in manifest.downsampled if part.erased]
        marked = [Downsampled(first, first + SEAL_FRAMES, erased=first in finished) for first in seals]
        state.put_manifest(replace(manifest, downsampled=add_downsampled(others, marked)))


def _full_arrays(state: CameraState) -> list[StoredArray]:
    arrays = feature_arrays(state.manifest.generation, state.spec)
    return [array for array in arrays if array.name.rpartition("/")[2] in ARRAYS]


def _finished(state: CameraState, seals: Sequence[int]) -> set[int]:
    """Those of these seals (first frames) without full tokens in the bucket either. Counts the bytes that this saves."""
    camera, manifest = state.directory, state.manifest
    try:
        upload_state = UploadState.read(camera)
    except DamagedMemory:
        return set()  # `fsck` reports it
    name = generation_name(manifest.generation)
    tree = upload_state.trees.get(name)
    finished = {first for first in seals if tree is None or (name, first // SEAL_FRAMES) in upload_state.downsampled}
    downsampled = downsampled_arrays(manifest.generation, state.spec)
    each = sum(array.chunk_bytes for array in downsampled)
    remote_only = sum(array.chunk_bytes * (SEAL_FRAMES // array.chunk) for array in _full_arrays(state))
    for first in finished:
        there_alone = tree is not None and first // SEAL_FRAMES < tree.released
        state.usage.freed((remote_only if there_alone else 0) - each)
    return finished
