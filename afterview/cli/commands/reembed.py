"""`afterview reembed`: a memory recorded with one model, made answerable by another, from its stored images."""

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from afterview.cli.arguments import memory_path
from afterview.cli.output.documents import dump
from afterview.memory.base.errors import CameraBusy, RequestRefused
from afterview.memory.base.spec import FeatureSpec
from afterview.memory.base.typed_times import spell_duration
from afterview.memory.directory import Memory
from afterview.memory.format.manifest import Manifest
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.reembed import Encode, build_sealed, open_generation
from afterview.stream.ingest.control import ask_writer
from afterview.stream.ingest.upgrade import image_encoder
from afterview.stream.ingest.upload import FINISH_UPLOAD_S, Uploader

if TYPE_CHECKING:
    from afterview.model.checkpoint.loaded import Encoders

PROGRESS_EVERY_S = 5.0


def run(arguments: argparse.Namespace) -> int:
    """Build a generation for each camera and put it in use. 0: done; 1: a camera could not be switched, all else is done."""
    memory = Memory(memory_path(arguments.memory))
    readers = [memory.camera(name) for name in arguments.camera] or memory.cameras()
    from afterview.model.checkpoint.loading import load_encoders  # loads torch

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
        return {**document, **_build(reader, spec, image_encoder(encoders), arguments)}
    finally:
        uploader.close(FINISH_UPLOAD_S)


def _build(reader: CameraReader, spec: FeatureSpec, encode: Encode, arguments: argparse.Namespace) -> dict[str, Any]:
    camera = reader.directory
    generation = open_generation(camera, spec)
    build_sealed(camera, generation, spec, encode, _Progress(reader.info.id))
    try:
        done = _switch(reader, generation, spec, encode, keep_old=arguments.keep_old)
    except (CameraBusy, RequestRefused) as error:
        said = f"{Manifest.read(camera).frames} frames are rebuilt, but not in use: {error}; run this again: little is left to do"
        return {"generation": generation, "switched": False, "said": said}
    lost = f"; {done['lost']} frames have no image any more and are lost to this model" if done["lost"] else ""
    return {
        **done, "switched": True,
        "said": f"{done['frames']} frames have features of '{spec.model}' now, put in use by {done['by']}{lost}",
    }  # fmt: skip


def _switch(
    reader: CameraReader, generation: int, spec: FeatureSpec, encode: Encode, *, keep_old: bool
) -> dict[str, Any]:
    """Put a generation in use: through the process that records the camera, or, where there is none, here."""
    command = {"do": "switch", "generation": generation, "model": spec.model, "keep_old": keep_old}
    result = ask_writer(reader.directory, command)
    if result is not None:
        return {**result, "by": "the process that records it, which goes on with this model"}
    with open_camera(reader.directory.parent, reader.info.name, reader.spec, fps=reader.info.fps) as repository:
        done = repository.switch(generation, spec, encode, keep_old=keep_old)
    return {"generation": done.generation, "frames": done.frames, "lost": done.lost, "by": "this command"}


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
