"""Re-embedding: a new generation with another model's features, from the stored images, while the old one stays in use.

Sealed frames come first, seal by seal, whether the camera is being recorded or not; an interrupted run continues. Then the lock holder
(the recording process, see stream.ingest.upgrade; otherwise this one) embeds the frames that arrived meanwhile and those in the journal,
and switches in one commit. A failure or a crash leaves the old generation in use, or the new one.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.durable import remove_tree, unlink, write_file
from afterview.memory.base.errors import DamagedFrames, RepositoryError
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.int8_tokens import quantise
from afterview.memory.base.moved import require_in_place
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.feature_spec_file import read_spec, write_spec
from afterview.memory.format.generation import GenerationFiles
from afterview.memory.format.generation_build import (
    Built,
    building_lock,
    finish_building,
    is_building,
    note_built,
    read_built,
)
from afterview.memory.format.journal import encode_file
from afterview.memory.format.layout import generation_name, generations, journal_name
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed import SealedFrames
from afterview.memory.format.sealed_writer import SealedWriter
from afterview.memory.format.unsealed import Unsealed
from afterview.memory.plans.clip_marks import LOOSE, marks_of, runs_without_gap, without_parts
from afterview.memory.plans.removal import Removal, add, present, runs
from afterview.memory.writing.state import CameraState

Encode = Callable[[Sequence[bytes]], tuple[NDArray[Any], NDArray[np.float32]]]
"""JPEGs to (tokens [n, P, Dv] in the spec's dtype, embeddings float32 [n, De])."""

Progress = Callable[[int, int], None]  # frames done, frames in all


@dataclass(frozen=True)
class Reembedded:
    """The result of re-embedding. lost: frames whose images are lost, so that the new model cannot see them."""

    generation: int
    frames: int
    lost: int


def open_generation(camera: Path, spec: FeatureSpec) -> int:
    """The generation that is being built for `spec`: an unfinished one, or a new one."""
    current = Manifest.read(camera).generation
    with building_lock(camera):
        for number in generations(camera):
            if number > current and is_building(camera, number) and _spec(camera, number) == spec:
                return number
        for number in generations(camera):
            if number > current:
                remove_tree(camera / generation_name(number))  # started for another model and dropped
        number = current + 1
        SealedWriter(camera, number).create_generation(spec)
        note_built(camera, number, Built())
        write_spec(camera, number, spec)
    return number


def _spec(camera: Path, generation: int) -> FeatureSpec | None:
    try:
        return read_spec(camera, generation)
    except RepositoryError:
        return None


def build_sealed(
    camera: Path, generation: int, spec: FeatureSpec, encode: Encode, progress: Progress = lambda done, total: None
) -> int:
    """Embed every sealed frame that the generation lacks; returns how many it has then. Needs no lock. Raises CameraMoved."""
    sealed = SealedWriter(camera, generation)
    built = read_built(camera, generation)
    while built.frames < Manifest.read(camera).frames:
        require_in_place(camera)
        manifest = Manifest.read(camera)
        images = _images(camera, manifest, built.frames)
        lost = [frame for frame, image in images.items() if not image]
        after_gap = {gap.before_frame for gap in sealed.gaps(manifest.gaps)} if spec.tokens.clip_marks else set()
        tokens, embeddings, marks = _encode_some(images, spec, encode, built.frames, SEAL_FRAMES, after_gap)
        with building_lock(camera):
            held = present(built.frames + SEAL_FRAMES, Manifest.read(camera).removed)
            gone = np.setdiff1d(np.arange(SEAL_FRAMES), held - built.frames)  # some may have been removed meanwhile
            marks[gone] = LOOSE
            marks = without_parts(marks)
            if spec.tokens.clip_marks:  # what is left of a clip still shows the frames that are gone
                tokens[marks == LOOSE] = 0
            tokens[gone], embeddings[gone] = 0, 0
            stored = dict({"tokens": tokens} if spec.tokens.storage == "float16" else quantise(tokens).arrays)
            if spec.tokens.clip_marks:
                stored["clips"] = marks
            sealed.write_features(built.frames, stored, embeddings)
            built = Built(built.frames + SEAL_FRAMES, (*built.lost, *runs(np.array(lost, dtype=np.int64))))
            note_built(camera, generation, built)
        progress(built.frames, manifest.frames)
    return built.frames


def _images(camera: Path, manifest: Manifest, first: int) -> dict[int, bytes]:
    """The JPEGs of one seal's remembered frames; empty for damaged ones. Raises UnreachableFrames: those are not lost."""
    sealed = SealedFrames(camera, manifest.generation)
    held = present(first + SEAL_FRAMES, manifest.removed)
    frames = held[held >= first].tolist()
    try:
        return dict(zip(frames, sealed.images(frames), strict=True))
    except DamagedFrames:
        return {frame: _image(sealed, frame) for frame in frames}


def _image(sealed: SealedFrames, frame: int) -> bytes:
    try:
        return next(sealed.images([frame]))
    except DamagedFrames:
        return b""


def _encode_some(
    images: dict[int, bytes], spec: FeatureSpec, encode: Encode, first: int, count: int, after_gap: Collection[int]
) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.uint8]]:
    """Features of `count` frames from `first` on, and clip marks; zero for removed frames and those without an image.

    after_gap: frames that a gap stands before: no clip reaches over it.
    """
    marks = np.full(count, LOOSE, dtype=np.uint8)
    tokens = np.zeros((count, spec.tokens.tokens_per_frame, spec.tokens.width), dtype=spec.tokens.dtype)
    embeddings = np.zeros((count, spec.index.width), dtype=np.float32)
    seen = {frame: image for frame, image in images.items() if image}
    if seen:
        rows, pictures, size = np.array(list(seen)) - first, list(seen.values()), spec.tokens.frames_per_record
        runs_of = runs_without_gap(list(seen), after_gap) if spec.tokens.clip_marks else [(0, len(seen))]
        for low, high in runs_of:
            tokens[rows[low:high]], embeddings[rows[low:high]] = encode(pictures[low:high])
            marks[rows[low:high]] = marks_of(high - low, size)
    return tokens, embeddings, marks


def switch(
    state: CameraState, generation: int, spec: FeatureSpec, encode: Encode, *, keep_old: bool = False
) -> Reembedded:
    """Finish the generation, put it in use, and write it from here on. Everything appended must be durable.

    Whatever fails until then leaves the old generation in use, and `state` as it was.
    """
    camera, old = state.directory, state.manifest.generation
    build_sealed(camera, generation, spec, encode)
    unsealed = state.unsealed
    held = set(present(unsealed.end, state.manifest.removed).tolist())
    images = {
        unsealed.first + row: frame.image for row, frame in enumerate(unsealed.frames) if unsealed.first + row in held
    }
    after_gap = {gap.before_frame for gap in unsealed.gaps}
    tokens, embeddings, marks = _encode_some(images, spec, encode, unsealed.first, len(unsealed.frames), after_gap)
    clips = marks.tolist() if spec.tokens.clip_marks else [None] * len(marks)
    frames = [
        replace(frame, tokens=tokens[row], embedding=embeddings[row], codes=None, clip=clips[row]).stored_as(
            spec.tokens.storage
        )
        for row, frame in enumerate(unsealed.frames)
    ]
    new = Unsealed(unsealed.first, frames, list(unsealed.gaps), unsealed.open_gap)
    write_file(camera / journal_name(generation), encode_file(new.entries()))
    built = read_built(camera, generation)
    lost = {frame for first, end in built.lost for frame in range(first, end) if frame in held}
    lost |= {frame for frame, image in images.items() if not image}
    _put_in_use(state, generation, spec, sorted(lost), built)
    if not keep_old:
        remove_tree(camera / generation_name(old))
    unlink(camera / journal_name(old))
    return Reembedded(generation, len(held) - len(lost), len(lost))


def _put_in_use(state: CameraState, generation: int, spec: FeatureSpec, lost: Sequence[int], built: Built) -> None:
    times, now = state.times(), time.time()
    gone = [
        Removal(first, end, float(times[first]), float(times[end - 1]), "damaged", now, erased=True)
        for first, end in runs(np.array(lost, dtype=np.int64))
    ]
    manifest = replace(state.manifest, generation=generation, removed=add(state.manifest.removed, gone), downsampled=())
    files = GenerationFiles.open(state.directory, manifest, spec)  # opened before the commit: nothing may fail after it
    try:
        finish_building(state.directory, generation)
        state.put_manifest(manifest)
    except OSError:
        if Manifest.read(state.directory) != manifest:  # otherwise the last fsync failed, and readers see it already
            files.journal.close()
            note_built(state.directory, generation, built)
            raise
    state.switch(files, manifest)
