"""Counting anew how much of a camera lies on its store, after a step was cut off between doing something and noting how much it was."""

from dataclasses import replace
from pathlib import Path

from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.generations import camera_layouts
from afterview.memory.format.layout import IMAGES
from afterview.memory.format.upload_state import FRAMES, UploadState
from afterview.memory.remote.bucket import BucketClient


def reconcile(camera: Path, objects: BucketClient, uploads: UploadState) -> UploadState:
    """The same with the bytes that one listing of the store finds, of each tree. Raises StoreError."""
    chunks = {layout.name: layout.chunk for layout in camera_layouts(camera) if layout.chunk <= SEAL_FRAMES}
    found = {name: replace(tree, bytes=0, away=0) for name, tree in uploads.trees.items()}
    for key, size in objects.sizes().items():
        folder, _, name = key.rpartition("/")
        if not name.startswith("c."):
            continue
        if folder.startswith(f"{IMAGES}/"):
            tree_name, seal = FRAMES, int(folder.rpartition("/")[2])
        elif folder in chunks:
            tree_name, seal = folder.partition("/")[0], int(name.split(".")[1]) * chunks[folder] // SEAL_FRAMES
        else:
            continue
        tree = found.get(tree_name)
        if tree is not None and seal < tree.sent:
            away = size if seal < tree.released and not (camera / key).exists() else 0
            found[tree_name] = replace(tree, bytes=tree.bytes + size, away=tree.away + away)
    return replace(uploads, trees=found, unsettled=False)
