"""`afterview reembed`: rebuild a memory's features with another model, from its stored images."""

import argparse
from typing import TYPE_CHECKING, Any

from afterview.cli.arguments import memory_path, require_model
from afterview.cli.models import load_model_encoders
from afterview.cli.output.documents import dump, for_programs, print_skipped
from afterview.cli.progress import announced, progress
from afterview.configs import ExitStatus
from afterview.memory.base.counts import counted
from afterview.memory.base.errors import CameraBusy, RequestRefused
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.moved import require_in_place
from afterview.memory.base.recorder import ask_writer
from afterview.memory.directory import Memory
from afterview.memory.format.manifest import Manifest
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.reembed import Encode, build_sealed, open_generation
from afterview.stream.ingest.commands import BY_COMMAND, BY_RECORDER
from afterview.stream.ingest.upgrade import image_encoder
from afterview.stream.ingest.upload import FINISH_UPLOAD_S, Uploader

if TYPE_CHECKING:
    from afterview.model.checkpoint.models import Encoders


def run(arguments: argparse.Namespace) -> int:
    """Build a generation for each camera and switch to it. Returns 1 if a camera could not be switched; everything else is done."""
    require_model(arguments.model)
    memory = Memory(memory_path(arguments.memory))
    memory.each(lambda reader: reader, arguments.camera)  # raises for what cannot be read, before the model is loaded
    encoders = load_model_encoders(arguments.model, arguments.index_encoder)
    done = memory.each(lambda reader: _reembed(reader, encoders, arguments), arguments.camera)
    documents = list(done.results.values())
    if arguments.json:
        dump({"cameras": for_programs(documents), "skipped": done.skipped}, arguments.memory)
    else:
        for document in documents:
            print(f"{document['camera']}: {document['said']}")
        print_skipped(done.skipped, "left out, and unchanged")
    whole = not done.skipped and all(document["switched"] for document in documents)
    return ExitStatus.OK if whole else ExitStatus.FAILURE


def _reembed(reader: CameraReader, encoders: "Encoders", arguments: argparse.Namespace) -> dict[str, Any]:
    camera, spec = reader.held.path, encoders.feature_spec.stored_as(arguments.tokens or reader.spec.tokens.storage)
    document: dict[str, Any] = {"camera": reader.info.id, "model": spec.model}
    if reader.spec == spec and not arguments.again:
        return {**document, "switched": True, "said": f"its features are those of '{spec.model}' already"}
    uploader = Uploader(camera)  # the new generation moves to the memory's store as it grows
    try:
        return {**document, **_build(reader, spec, image_encoder(encoders), arguments)}
    finally:
        uploader.close(FINISH_UPLOAD_S)


def _build(reader: CameraReader, spec: FeatureSpec, encode: Encode, arguments: argparse.Namespace) -> dict[str, Any]:
    camera = reader.held.path
    generation = open_generation(camera, spec)
    with progress(reader.info.id, "frames") as report:
        build_sealed(camera, generation, spec, encode, report)
    try:
        with announced(f"{reader.info.id}: switching"):
            done = _switch(reader, generation, spec, encode, keep_old=arguments.keep_old)
    except (CameraBusy, RequestRefused) as error:
        said = (
            f"{Manifest.read(camera).frames} frames are re-embedded, but the switch failed: {error}; "
            "run the command again to switch"
        )
        return {"generation": generation, "switched": False, "reason": str(error), "said": said}
    lost = f"; {done['lost']} frames have no image and cannot be re-embedded" if done["lost"] else ""
    here = done["by"] == BY_COMMAND
    who = "this command" if here else "the recording process, which now uses this model"
    have = "has" if done["frames"] == 1 else "have"
    return {
        **done, "switched": True,
        "said": f"{counted(done['frames'], 'frame')} now {have} features of '{spec.model}', switched by {who}{lost}",
    }  # fmt: skip


def _switch(
    reader: CameraReader, generation: int, spec: FeatureSpec, encode: Encode, *, keep_old: bool
) -> dict[str, Any]:
    """Switch to a generation: through the process that records the camera, or here if there is none."""
    command = {"do": "switch", "generation": generation, "model": spec.model, "keep_old": keep_old}
    require_in_place(reader.held.path)
    result = ask_writer(reader.held.path, command)
    if result is not None:
        return {**result, "by": BY_RECORDER}
    place, rate = reader.directory, reader.info.fps
    with open_camera(place.parent, place.name, reader.spec, fps=rate, expected=reader.held) as repository:
        done = repository.switch(generation, spec, encode, keep_old=keep_old)
    return {"generation": done.generation, "frames": done.frames, "lost": done.lost, "by": BY_COMMAND}
