"""The writer of `tests.crash.writer` with the upload thread of a watch beside it: `python -m tests.crash.store_writer DIR ACKS LOG`.

The camera is there already, and its memory names a store. Credentials come from the environment.
"""

import os
import random
import sys
import time
from pathlib import Path

from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.feature_spec_file import read_spec
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.upload_state import UploadState
from afterview.memory.sync import downsample_remote as coarsening
from afterview.memory.sync import upload
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.repository import Repository
from afterview.stream.ingest import upload as uploading
from afterview.stream.ingest.upload import Uploader, UploadProgress
from tests.crash.writer import SPARED, Log, small_segments, write_for_ever
from tests.support.memory_world import START

BEHIND = 3  # seals that the upload may be behind; a writer without pictures to wait for would leave it far behind


def _wait_for_upload(repository: Repository) -> None:
    def behind() -> int:
        sent = [tree.sent for tree in UploadState.read(repository.directory).trees.values()]
        return repository.manifest.frames // SEAL_FRAMES - min(sent, default=0)

    while behind() > BEHIND:
        time.sleep(0.01)


def _say(state: UploadProgress) -> None:
    """The store always answers here, so that whatever stops the upload is a fault: end, without being killed."""
    if state.silent_since is not None:
        print(state.why, file=sys.stderr, flush=True)
        os._exit(3)


def main() -> None:
    """Go on until somebody kills this."""
    memory, acks, log = (Path(argument) for argument in sys.argv[1:4])
    camera = memory / "a"
    small_segments()
    upload.PUBLISH_EVERY_S = coarsening.LOOK_EVERY_S = 0.2
    uploading.LOOK_EVERY_S = 0.05
    with open_camera(memory, "a", read_spec(camera, Manifest.read(camera).generation)) as repository:
        Uploader(camera, on_state=_say)
        dice = random.Random(os.getpid())
        write_for_ever(
            repository, Log(acks), Log(log), dice, spared=(START, START + SPARED), after_each=_wait_for_upload
        )


if __name__ == "__main__":
    main()
