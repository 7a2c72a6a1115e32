"""A new generation: features of another model, made from the stored images, while the memory stays readable under the old one.

Sealed frames first, seal by seal, beside a living writer or not; a run that was interrupted goes on where it was. Then, with the
camera's lock held, what came in meanwhile and what is still in the journal, and one commit that switches everything at once. A crash
leaves the old generation in use or the new one, whole either way.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memory.building import building_lock, finish_building, frames_built, is_building, note_built
from memory.chunks import SealedFrames
from memory.commit import Commit
from memory.durable import remove_tree, unlink, write_file
from memory.errors import DamagedFrames, RepositoryError
from memory.journal import encode_file
from memory.layout import SEAL_FRAMES, generation_name, generations, journal_name
from memory.pending import Pending
from memory.quantised import quantise
from memory.records import FrameRecord
from memory.removal import Removal, add, present, runs
from memory.repository import Repository
from memory.spec import FeatureSpec
from memory.specfile import read_spec, write_spec

Encode = Callable[[Sequence[bytes]], tuple[NDArray[Any], NDArray[np.float32]]]
"""JPEGs to (tokens [n, P, Dv] in the spec's dtype, embeddings float32 [n, De])."""

Progress = Callable[[int, int], None]  # frames done, frames in all


@dataclass(frozen=True)
class Reembedded:
    """What became of a generation. lost: frames that have no image any more and so cannot be seen by the new model."""

    generation: int
    frames: int
    lost: int


def open_generation(camera: Path, spec: FeatureSpec) -> int:
    """The generation that is being built for `spec`: the one that was begun, or a new one."""
    current = Commit.read(camera).generation
    with building_lock(camera):
        for number in generations(camera):
            if number > current and is_building(camera, number) and _spec(camera, number) == spec:
                return number
        for number in generations(camera):
            if number > current:
                remove_tree(camera / generation_name(number))  # begun for another model, and given up
        number = current + 1
        SealedFrames(camera, number, writable=True).create_generation(spec)
        note_built(camera, number, 0)
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
    """Embed every sealed frame that the generation lacks, until there is none; returns how many it has then. Needs no lock."""
    sealed = SealedFrames(camera, generation, writable=True)
    done = frames_built(camera, generation)
    while done < Commit.read(camera).frames:
        with building_lock(camera):
            commit = Commit.read(camera)
            tokens, embeddings = _features(camera, commit, spec, encode, done)
            stored = {"tokens": tokens} if spec.tokens.storage == "float16" else quantise(tokens).arrays
            sealed.write_features(done, stored, embeddings)
        done += SEAL_FRAMES
        note_built(camera, generation, done)
        progress(done, commit.frames)
    return done


def _features(
    camera: Path, commit: Commit, spec: FeatureSpec, encode: Encode, first: int
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Features of one seal; zero for frames that are gone or have no image."""
    held = present(first + SEAL_FRAMES, commit.removed)
    images = {frame: image for frame in held[held >= first].tolist() if (image := _image(camera, commit, frame))}
    return _encode_some(images, spec, encode, first, SEAL_FRAMES)


def _encode_some(
    images: dict[int, bytes], spec: FeatureSpec, encode: Encode, first: int, count: int
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    tokens = np.zeros((count, spec.tokens.tokens_per_frame, spec.tokens.width), dtype=spec.tokens.dtype)
    embeddings = np.zeros((count, spec.index.width), dtype=np.float32)
    if images:
        rows = np.array(list(images)) - first
        tokens[rows], embeddings[rows] = encode(list(images.values()))
    return tokens, embeddings


def _image(camera: Path, commit: Commit, frame: int) -> bytes:
    try:
        return SealedFrames(camera, commit.generation).image(frame)
    except DamagedFrames:
        return b""


def switch(
    repository: Repository, generation: int, spec: FeatureSpec, encode: Encode, *, keep_old: bool = False
) -> Reembedded:
    """Finish the generation and put it in use. `repository` is open under the old one, and must be closed without further use."""
    repository.sync()
    camera = repository.directory
    build_sealed(camera, generation, spec, encode)
    commit, pending = repository.commit, repository.pending()
    held = set(present(pending.end, commit.removed).tolist())
    images = {
        pending.first + row: frame.image
        for row, frame in enumerate(pending.frames)
        if frame.image and pending.first + row in held
    }
    tokens, embeddings = _encode_some(images, spec, encode, pending.first, len(pending.frames))
    frames = [
        replace(frame, tokens=tokens[row], embedding=embeddings[row], codes=None).stored_as(spec.tokens.storage)
        for row, frame in enumerate(pending.frames)
    ]
    fresh = Pending(pending.first, frames, list(pending.gaps), pending.open_gap)
    write_file(camera / journal_name(generation), encode_file(fresh.entries()))
    lost = _without_image(camera, commit, frames, images)
    finish_building(camera, generation)
    _put_in_use(repository, generation, lost)
    if not keep_old:
        remove_tree(camera / generation_name(commit.generation))
    unlink(camera / journal_name(commit.generation))
    return Reembedded(generation, len(held) - len(lost), len(lost))


def _without_image(
    camera: Path, commit: Commit, frames: Sequence[FrameRecord], images: dict[int, bytes]
) -> NDArray[np.int64]:
    """Frames that are remembered but cannot be embedded anew."""
    sealed = [frame for frame in present(commit.frames, commit.removed).tolist() if not _image(camera, commit, frame)]
    held = present(commit.frames + len(frames), commit.removed)
    late = [frame for frame in held[held >= commit.frames].tolist() if frame not in images]
    return np.array([*sealed, *late], dtype=np.int64)


def _put_in_use(repository: Repository, generation: int, lost: NDArray[np.int64]) -> None:
    times, now = repository.times(), time.time()
    gone = [
        Removal(first, end, float(times[first]), float(times[end - 1]), "damaged", now, erased=True)
        for first, end in runs(lost)
    ]
    repository.put_commit(
        replace(repository.commit, generation=generation, removed=add(repository.commit.removed, gone))
    )
