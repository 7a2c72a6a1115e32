"""Saves the evidence of an answer as files."""

import os
import tempfile
from pathlib import Path

from afterview.memory.base.camera import ANSWERS
from afterview.stream.ask.question import Answer


def save_evidence(answer: Answer, memory: Path) -> dict[tuple[str, int], str]:
    """Write each evidence frame as a JPEG; returns the path of each (camera, frame).

    They are written to `answers/ID/` of the memory, or to a temporary directory if that is not writable.
    """
    if not answer.evidence:
        return {}
    directory = memory / ANSWERS / answer.id
    try:
        directory.parent.mkdir(exist_ok=True)
        directory.mkdir(exist_ok=True)  # not the memory: where it was deleted, nothing is made in its place
        writable = os.access(directory, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        directory = Path(tempfile.mkdtemp(prefix=f"afterview-{answer.id}-"))
    paths = {}
    for item in answer.evidence:
        path = directory / f"{item.camera}-{item.frame}.jpg"
        path.write_bytes(item.image)
        paths[item.camera, item.frame] = str(path)
    return paths
