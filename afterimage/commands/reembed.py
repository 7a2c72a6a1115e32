"""`afterimage reembed`: a memory recorded with one model, made answerable by another, from its stored images."""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from afterimage.arguments import memory_path
from afterimage.documents import dump
from afterimage.times import spell_duration
from memory.commit import Commit
from memory.directory import Memory
from memory.errors import CameraBusy
from memory.reader import CameraReader
from memory.reembed import build_sealed, open_generation, switch
from memory.repository import open_camera
from stream.uploading import FINISH_UPLOAD_S, Uploader

if TYPE_CHECKING:
    from model.loaded import Encoders

BATCH = 16  # frames embedded at once
PROGRESS_EVERY_S = 5.0


def run(arguments: argparse.Namespace) -> int:
    """Build a generation for each camera and put it in use. 0: done; 1: a camera is still being recorded, all but the switch is done."""
    memory = Memory(memory_path(arguments.memory))
    readers = [memory.camera(name) for name in arguments.camera] or memory.cameras()
    from model.checkpoint import load_encoders  # loads torch

    encoders = load_encoders(arguments.model)
    documents = [_reembed(reader, encoders, arguments) for reader in readers]
    if arguments.json:
        dump({"cameras": documents})
    else:
        for document in documents:
            print(f"{document['camera']}: {document['said']}")
    return 0 if all(document["switched"] for document in documents) else 1


def _reembed(reader: CameraReader, encoders: "Encoders", arguments: argparse.Namespace) -> dict[str, Any]:
    camera, spec = reader.directory, encoders.feature_spec.stored_as(arguments.tokens or reader.spec.tokens.storage)
    document: dict[str, Any] = {"camera": reader.info.id, "model": spec.model}
    if reader.spec == spec and not arguments.again:
        return {**document, "switched": True, "said": f"its features are those of '{spec.model}' already"}
    uploader = Uploader(camera)  # the new generation moves to the memory's store as it grows
    try:
        return {**document, **_build(reader, encoders, arguments)}
    finally:
        uploader.close(FINISH_UPLOAD_S)


def _build(reader: CameraReader, encoders: "Encoders", arguments: argparse.Namespace) -> dict[str, Any]:
    camera, spec = reader.directory, encoders.feature_spec
    generation = open_generation(camera, spec)
    encode = _encoder(encoders)
    build_sealed(camera, generation, spec, encode, _Progress(reader.info.id))
    try:
        repository = open_camera(camera.parent, reader.info.name, reader.spec, fps=reader.info.fps)
    except CameraBusy as error:
        said = f"{Commit.read(camera).frames} frames are rebuilt, but {error}; stop it and run this again to switch: little is left to do"
        return {"generation": generation, "switched": False, "said": said}
    with repository:
        done = switch(repository, generation, spec, encode, keep_old=arguments.keep_old)
    lost = f"; {done.lost} frames have no image any more and are lost to this model" if done.lost else ""
    return {
        "generation": done.generation, "frames": done.frames, "lost": done.lost, "switched": True,
        "said": f"{done.frames} frames have features of '{spec.model}' now{lost}",
    }  # fmt: skip


def _encoder(encoders: "Encoders") -> Any:
    from model.preprocess import to_square
    from stream.media import decode_jpeg

    def encode(images: Sequence[bytes]) -> tuple[NDArray[Any], NDArray[np.float32]]:
        spec = encoders.feature_spec
        tokens, embeddings = [], []
        for start in range(0, len(images), BATCH):
            pictures = [decode_jpeg(image) for image in images[start : start + BATCH]]
            tokens.append(
                encoders.vision.encode(np.stack([to_square(rgb, spec.tokens.resolution) for rgb in pictures]))
            )
            embeddings.append(
                encoders.index.encode_images(np.stack([to_square(rgb, spec.index.resolution) for rgb in pictures]))
            )
        return np.concatenate(tokens), np.concatenate(embeddings)

    return encode


class _Progress:
    """Frames done and time left, on standard error every few seconds."""

    def __init__(self, camera: str) -> None:
        self._camera, self._began, self._said = camera, time.monotonic(), time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        self._first = done if self._first is None else self._first
        now = time.monotonic()
        if now - self._said >= PROGRESS_EVERY_S:
            self._said = now
            rate = max(1e-9, (done - self._first) / (now - self._began))
            print(
                f"{self._camera}: {done} of {total} frames, {spell_duration((total - done) / rate)} left",
                file=sys.stderr,
            )
