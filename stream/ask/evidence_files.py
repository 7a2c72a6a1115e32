"""Saves the evidence of an answer as files."""

import logging
import shutil
import tempfile
from pathlib import Path

from afterview.configs.system_errors import describe
from afterview.memory.base.camera import ANSWERS
from afterview.stream.ask.question import Answer

_LOGGER = logging.getLogger(__name__)


def save_evidence(answer: Answer, memory: Path) -> dict[tuple[str, int], str]:
    """Write each evidence frame as a JPEG; returns the path of each (camera, frame).

    They are written to `answers/ID/` of the memory, or to a temporary directory if that cannot be written. If neither can, the log says
    why and none is returned: the answer does not depend on it.
    """
    if not answer.evidence:
        return {}
    try:
        return _save(answer, memory / ANSWERS / answer.id)
    except OSError:
        pass  # read-only, or full
    try:
        return _save(answer, Path(tempfile.mkdtemp(prefix=f"afterview-{answer.id}-")))
    except OSError as error:
        _LOGGER.warning("note: the images of the evidence are not saved: %s", describe(error, action="written"))
        return {}


def _save(answer: Answer, directory: Path) -> dict[tuple[str, int], str]:
    """Write all images, or none. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = {}
    try:
        for item in answer.evidence:
            path = directory / f"{item.camera}-{item.frame}.jpg"
            path.write_bytes(item.image)
            paths[item.camera, item.frame] = str(path)
    except OSError:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return paths
