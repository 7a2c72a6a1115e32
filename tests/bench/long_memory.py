"""Makes a memory of many days in a minute: a few real seals, hard-linked under the names of all others.

A chunk contains neither its place nor its frame numbers, so reading a link costs the same as reading a copy. Times and
embeddings are written for every frame; tokens and images repeat.
"""

import os
from pathlib import Path

import numpy as np

from afterview.memory.base.camera import CameraInfo, write_camera
from afterview.memory.base.durable import write_file
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.journal import MAGIC
from afterview.memory.format.layout import (
    IMAGES,
    SCALAR_CHUNK,
    StoredArray,
    feature_arrays,
    scalar_arrays,
    with_checksum,
)
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed_writer import SealedWriter
from afterview.memory.writing.open import open_camera
from tests.support.memory_world import START, make_frame

MODELS = 64  # real seals, and distinct runs of embeddings
_MOST_LINKS = 20000  # of one file; ext4 allows 65,000
PERIOD_FRAMES = 4096 * SEAL_FRAMES  # frames after which embeddings repeat


def make_long_memory(memory: Path, spec: FeatureSpec, frames: int, *, name: str = "a") -> int:
    """Camera `name` with `frames` frames (rounded down to whole seals), one per second from START. Returns their number."""
    with open_camera(memory, name, spec, timezone="UTC") as repository:
        for number in range(MODELS * SEAL_FRAMES):
            repository.append(make_frame(number, spec))
        repository.sync()
    camera, seals = memory / name, frames // SEAL_FRAMES
    total = seals * SEAL_FRAMES
    *stored, embeddings = feature_arrays(1, spec)
    for layout in scalar_arrays():
        _write_scalars(camera, layout, total)
    for layout in stored:
        _link_chunks(camera, layout, MODELS * SEAL_FRAMES // layout.chunk, total // layout.chunk)
    _write_embeddings(camera, embeddings, seals)
    for seal in range(MODELS, seals):
        directory = camera / IMAGES / str(seal)
        directory.mkdir()
        for file in ("zarr.json", "c.0"):
            os.link(_source(camera / IMAGES / str(seal % MODELS) / file, seal), directory / file)
    sealed = SealedWriter(camera, 1)
    for layout in (*scalar_arrays(), *stored, embeddings):
        (camera / layout.name / "zarr.json").unlink()
        sealed.create_array(layout, total)
    Manifest(total, 0, 1).write(camera)
    write_file(camera / "journal", MAGIC)
    write_camera(camera, CameraInfo(name, name, 1.0, "UTC", 0, START))
    return total


def _write_scalars(camera: Path, layout: StoredArray, total: int) -> None:
    for chunk in range(-(-total // SCALAR_CHUNK)):
        times = START + np.arange(chunk * SCALAR_CHUNK, (chunk + 1) * SCALAR_CHUNK, dtype=np.float64)
        rows = times if layout.dtype == "f8" else np.zeros(SCALAR_CHUNK, dtype=layout.dtype)
        layout.file(camera, chunk).write_bytes(with_checksum(rows.tobytes()))


def _write_embeddings(camera: Path, layout: StoredArray, seals: int) -> None:
    random, width = np.random.default_rng(7), layout.row[0]
    for seal in range(seals):
        path = layout.file(camera, seal)
        if seal >= PERIOD_FRAMES // SEAL_FRAMES:
            path.unlink(missing_ok=True)
            os.link(layout.file(camera, seal % (PERIOD_FRAMES // SEAL_FRAMES)), path)
            continue
        rows = random.standard_normal((SEAL_FRAMES, width)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        path.write_bytes(with_checksum(rows.tobytes()))


def _link_chunks(camera: Path, layout: StoredArray, real: int, count: int) -> None:
    for chunk in range(real, count):
        os.link(_source(layout.file(camera, chunk % real), chunk), layout.file(camera, chunk))


def _source(path: Path, number: int) -> Path:
    """The file to link to; a new copy if it has too many links."""
    if path.stat().st_nlink < _MOST_LINKS:
        return path
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    return path
