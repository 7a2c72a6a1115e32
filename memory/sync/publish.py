"""Publishing a camera, so that another machine can read it: small files beside the chunks, and `committed` last."""

import json
from dataclasses import replace
from pathlib import Path

from afterview.memory.base.documents import decode_json
from afterview.memory.base.errors import DamagedMemory
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.generations import camera_arrays
from afterview.memory.format.layout import GAP_CHUNK, IMAGES, generation_name
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed import SealedFrames
from afterview.memory.format.upload_state import UploadState
from afterview.memory.plans.downsampling import ARRAYS, Downsampled, add_downsampled
from afterview.memory.plans.removal import Removal
from afterview.memory.remote.bucket import BucketClient


def same_camera(own: bytes, other: bytes) -> bool:
    """Whether two `camera.json` describe one camera: same id and same creation time."""
    try:
        mine, theirs = json.loads(own), json.loads(other)
        return (mine["id"], mine["created"]) == (theirs["id"], theirs["created"])
    except (ValueError, LookupError, TypeError):
        return False


def is_no_camera(other: bytes) -> bool:
    """Whether a `camera.json` is damaged, so that it does not tell whose camera it is."""
    try:
        values = decode_json(other, where="camera.json")
    except DamagedMemory:
        return True
    return not {"id", "created"} <= values.keys()


def small_files(camera: Path, manifest: Manifest, known: int, frames: int) -> list[str]:
    """Keys of what a reader needs beside chunks of features: array metadata, and arrays of one number per frame from row `known` on."""
    generation = generation_name(manifest.generation)
    keys = ["camera.json", f"{generation}/spec.json", "frames/gaps/zarr.json"]
    keys += [f"{folder}/zarr.json" for folder in ("frames", IMAGES, generation)]
    for array in camera_arrays(camera, manifest.generation):
        keys.append(f"{array.name}/zarr.json")
        if array.chunk > SEAL_FRAMES:
            first = known // array.chunk * array.chunk
            keys += [str(array.file(camera, chunk).relative_to(camera)) for chunk in array.chunks(first, frames)]
    return [*keys, *(f"frames/gaps/c.{chunk}.0" for chunk in range(-(-manifest.gaps // GAP_CHUNK)))]


def downsampled_metadata(camera: Path, tree: str) -> list[str]:
    """Keys of the metadata of downsampled arrays, without which their chunks cannot be read."""
    keys = [f"{tree}/{name}/zarr.json" for name in ARRAYS.values()]
    return [key for key in keys if (camera / key).exists()]


def published_manifest(camera: Path, manifest: Manifest, state: UploadState, frames: int) -> bytes:
    """The manifest to publish: no more frames than the bucket holds; downsampled: only seals whose downsampled chunks it holds."""
    gaps = SealedFrames(camera, manifest.generation).gaps(manifest.gaps)
    count = sum(gap.before_frame < frames for gap in gaps)
    tree = generation_name(manifest.generation)
    downsampled = [
        Downsampled(first, first + SEAL_FRAMES)
        for part in manifest.downsampled
        for first in range(part.first, min(part.end, frames), SEAL_FRAMES)
        if part.erased or (tree, first // SEAL_FRAMES) in state.downsampled
    ]
    return replace(manifest, frames=frames, gaps=count, downsampled=add_downsampled(downsampled, ())).encode()


def published_removals(bucket: BucketClient, generation: int, frames: int) -> tuple[Removal, ...]:
    """Removals of the first `frames` frames that were published; empty if another generation was published. Raises StoreError."""
    theirs = bucket.read("committed")
    if theirs is None:
        return ()
    try:
        manifest = Manifest.decode(theirs, where=bucket.name)
    except DamagedMemory:
        return ()
    return tuple(gone for gone in manifest.removed if gone.end <= frames and manifest.generation == generation)
