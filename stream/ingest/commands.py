"""Commands to a camera, wherever it is written: by another process, through its control socket, or by none, and then here."""

import logging
import time
from typing import Any

from afterview.memory.base.errors import StoreError
from afterview.memory.base.moved import require_in_place
from afterview.memory.base.recorder import ask_writer
from afterview.memory.reading.reader import CameraReader
from afterview.memory.remote.bucket import bucket_of
from afterview.memory.sync.upload import Upload
from afterview.memory.writing.commands import Command, downsample_old_frames, execute
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.repository import Repository

PROGRESS_EVERY_S = 5.0
BY_RECORDER, BY_COMMAND = "recorder", "command"  # values of `by` in the JSON: the process that records it, this one

_LOGGER = logging.getLogger(__name__)


def apply(reader: CameraReader, command: Command, *, finish_downsampling: bool = False) -> dict[str, Any]:
    """Let the process that writes the camera execute a command; without one, execute it here. The result as JSON; `by` says who did.

    finish_downsampling: here, downsample all frames that are due; a process that writes the camera does so bit by bit.
    Raises RequestRefused, CameraBusy, CameraMoved.
    """
    require_in_place(reader.held.path)  # it was read for this command, and nothing else may get it
    result = ask_writer(reader.held.path, command)
    if result is not None:
        return {**result, "by": BY_RECORDER}
    place, rate = reader.directory, reader.info.fps
    with open_camera(place.parent, place.name, reader.spec, fps=rate, expected=reader.held) as repository:
        result = execute(repository, command)
        if finish_downsampling:
            result["coarse"] += _finish_downsampling(repository)
        return {**result, "by": BY_COMMAND}


def _finish_downsampling(repository: Repository) -> int:
    """Downsample all old frames, those on a store included, and log the progress; returns how many."""
    done, logged, camera = 0, time.monotonic(), repository.directory
    objects = bucket_of(camera)
    upload = None if objects is None else Upload(camera, objects, local_bytes=0)
    while True:
        more, moved = downsample_old_frames(repository), False
        done += more
        if upload is not None:
            try:
                moved = upload.step(only_downsampling=True)
            except StoreError as error:
                _LOGGER.warning("%s: %s; the next watch downsamples what lies there", repository.info.id, error)
                upload = None
        if not more and not moved:
            return done
        if time.monotonic() - logged >= PROGRESS_EVERY_S:
            logged = time.monotonic()
            _LOGGER.info("%s: %d frames downsampled", repository.info.id, done)
