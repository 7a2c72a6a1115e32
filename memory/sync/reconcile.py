"""Reconciling the upload state with the bucket after a step was cut off before it noted how many bytes it had changed."""

from dataclasses import replace
from pathlib import Path

from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.generations import camera_arrays
from afterview.memory.format.layout import IMAGES
from afterview.memory.format.upload_state import FRAMES, UploadState
from afterview.memory.remote.bucket import BucketClient


def reconcile(camera: Path, bucket: BucketClient, state: UploadState) -> UploadState:
    """A copy of the state with each tree's bytes counted from one listing of the bucket. Raises StoreError."""
    chunks = {array.name: array.chunk for array in camera_arrays(camera) if array.chunk <= SEAL_FRAMES}
    found = {name: replace(tree, bytes=0, remote_only=0) for name, tree in state.trees.items()}
    for key, size in bucket.sizes().items():
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
            remote_only = size if seal < tree.released and not (camera / key).exists() else 0
            found[tree_name] = replace(tree, bytes=tree.bytes + size, remote_only=tree.remote_only + remote_only)
    return replace(state, trees=found, unsettled=False)
