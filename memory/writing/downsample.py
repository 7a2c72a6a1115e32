"""Keeping old frames coarse: the writer's steps, a few seals at a time, in an order that a crash can interrupt anywhere.

coarse chunks written -> committed as coarse -> the other chunks deleted -> committed as erased. Readers take the chunk that is there,
so they see a frame at every moment (codes go before their scales, and either without the other is as good as gone). The steps before
the commit can be done again; the one after it is, by the next writer.

With a store the writer still waits for nobody: of seals that lie on the store alone the upload writes the coarse chunks here
(`write_from_store`), and it deletes the other chunks there (memory.sync.upload) before the writer commits them as erased.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.durable import make_directory, write_file
from afterview.memory.base.errors import DamagedFrames, DamagedMemory, StoreUnreachable, UnreachableFrames
from afterview.memory.base.failpoints import reach
from afterview.memory.base.int8_tokens import quantise
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.base.spec import FeatureSpec
from afterview.memory.format.generation_build import building_lock
from afterview.memory.format.layout import (
    ArrayLayout,
    downsampled_layouts,
    feature_layouts,
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

AT_ONCE = 4  # seals: a fifth of a second of the write thread


def downsample_oldest(
    state: CameraState, seconds: float | None, keep: Sequence[tuple[float, float]], *, at_most: int = AT_ONCE
) -> int:
    """Make the oldest seals coarse that are older than `seconds`; returns how many frames that was.

    Nothing happens to what cannot be read, to merged tokens, and, for now, to seals that the upload has yet to fetch from the store.
    """
    manifest = state.manifest
    finish_downsampling(state)
    if seconds is None or not can_downsample(state.spec.tokens):
        return 0
    times = state.times()[: manifest.frames]
    done: list[Downsampled] = []
    for first in _within_reach(state, due(manifest, times, seconds, keep)):
        if len(done) < at_most and _write(state, first):
            done.append(Downsampled(first, first + SEAL_FRAMES, erased=False))
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
    """First frames of the seals that are to become coarse, oldest first. times: of all sealed frames."""
    held = np.zeros(manifest.frames, dtype=bool)
    held[present(manifest.frames, manifest.removed)] = True
    held &= ~downsampled_mask(manifest.frames, manifest.downsampled)
    return plan_downsampling(times, held, seconds=seconds, keep=keep)


def _within_reach(state: CameraState, chosen: Sequence[int]) -> list[int]:
    """Those of these seals whose tokens are here, or whose coarse chunks the upload has written."""
    camera, generation = state.directory, state.manifest.generation
    away = _released(camera, generation)
    ready = written(camera, generation, state.spec)
    return [first for first in chosen if first // SEAL_FRAMES >= away or first // SEAL_FRAMES in ready]


def _released(camera: Path, generation: int) -> int:
    """How many seals have no chunk here any more."""
    try:
        tree = UploadState.read(camera).trees.get(generation_name(generation))
    except DamagedMemory:
        return Manifest.read(camera).frames // SEAL_FRAMES  # `fsck` says so; until then every seal may be away
    return tree.released if tree else 0


def written(camera: Path, generation: int, spec: FeatureSpec) -> set[int]:
    """Seals of which every coarse chunk is here."""
    names = [
        {path.name.split(".")[1] for path in (camera / layout.name).glob("c.*")}
        for layout in downsampled_layouts(generation, spec)
    ]
    return {int(name) for name in set.intersection(*names) if name.isdigit()}


def _write(state: CameraState, first: int) -> bool:
    """The coarse chunks of a seal; False where its tokens cannot be read."""
    manifest, spec, seal = state.manifest, state.spec, first // SEAL_FRAMES
    camera = state.directory
    if seal < _released(camera, manifest.generation):
        state.sealed.make_downsampled_arrays(first + SEAL_FRAMES, spec)
        return all(layout.check(camera, seal) is None for layout in downsampled_layouts(manifest.generation, spec))
    try:
        rows = downsampled_rows(state.sealed, manifest, spec, first)
    except UnreachableFrames:
        return False  # released at this very moment
    if rows is not None:
        state.sealed.write_downsampled(first, spec, rows)
    return rows is not None


def downsampled_rows(
    sealed: SealedFrames, manifest: Manifest, spec: FeatureSpec, first: int
) -> dict[str, NDArray[np.generic]] | None:
    """The coarse tokens of a seal, by the names of the other arrays; None where one cannot be read. Raises UnreachableFrames."""
    ids = np.arange(first, first + SEAL_FRAMES)
    gone = np.setdiff1d(ids, present(first + SEAL_FRAMES, manifest.removed)) - first
    try:
        tokens = sealed.tokens(ids)
    except UnreachableFrames:
        raise
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
    """Write here the coarse chunks of a seal whose tokens lie on the store; False where they cannot be read.

    Call with the store's lock held: then nobody forgets frames of it meanwhile. Raises StoreUnreachable.
    """
    try:
        rows = downsampled_rows(SealedFrames(camera, manifest.generation), manifest, spec, first)
    except UnreachableFrames as error:
        raise StoreUnreachable(str(error)) from None
    if rows is None:
        return False
    layouts = {layout.name.rpartition("/")[2]: layout for layout in downsampled_layouts(manifest.generation, spec)}
    for name, data in rows.items():
        path = layouts[ARRAYS[name]].file(camera, first // SEAL_FRAMES)  # not through Zarr: the arrays are the writer's
        make_directory(path.parent)
        write_file(path, with_checksum(np.ascontiguousarray(data).tobytes()))
    return True


def finish_downsampling(state: CameraState) -> None:
    """Delete the chunks that coarse ones stand in for, where that is not noted as done; note it, once the store has done so, too."""
    camera, manifest = state.directory, state.manifest
    unfinished = [part for part in manifest.downsampled if not part.erased]
    if not unfinished:
        return
    done = Erased()
    with building_lock(camera):
        for layout in _fine_layouts(state):
            for part in unfinished:
                for chunk in layout.chunks(part.first, part.end):
                    done.drop(layout.file(camera, chunk))
            reach("thin.half-erased")
    state.usage.freed(done.freed)
    seals = [first for part in unfinished for first in range(part.first, part.end, SEAL_FRAMES)]
    finished = _finished(state, seals)
    if finished:
        others = [part for part in manifest.downsampled if part.erased]
        marked = [Downsampled(first, first + SEAL_FRAMES, erased=first in finished) for first in seals]
        state.put_manifest(replace(manifest, downsampled=add_downsampled(others, marked)))


def _fine_layouts(state: CameraState) -> list[ArrayLayout]:
    layouts = feature_layouts(state.manifest.generation, state.spec)
    return [layout for layout in layouts if layout.name.rpartition("/")[2] in ARRAYS]


def _finished(state: CameraState, seals: Sequence[int]) -> set[int]:
    """Those of these seals (first frames) that have no other tokens on a store either; what that saves is counted."""
    camera, manifest = state.directory, state.manifest
    try:
        uploads = UploadState.read(camera)
    except DamagedMemory:
        return set()  # `fsck` says so
    name = generation_name(manifest.generation)
    tree = uploads.trees.get(name)
    finished = {first for first in seals if tree is None or (name, first // SEAL_FRAMES) in uploads.thinned}
    downsampled = downsampled_layouts(manifest.generation, state.spec)
    each = sum(layout.chunk_bytes for layout in downsampled)
    away = sum(layout.chunk_bytes * (SEAL_FRAMES // layout.chunk) for layout in _fine_layouts(state))
    for first in finished:
        there_alone = tree is not None and first // SEAL_FRAMES < tree.released
        state.usage.freed((away if there_alone else 0) - each)
    return finished
