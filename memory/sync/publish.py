"""What a store is told about a camera beside its chunks, so that another machine can read it: small files, and `committed` as of them."""

import json
from dataclasses import replace
from pathlib import Path

from afterview.memory.base.documents import decode_json
from afterview.memory.base.errors import DamagedMemory
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.generations import camera_layouts
from afterview.memory.format.layout import GAP_CHUNK, IMAGES, generation_name
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed import SealedFrames
from afterview.memory.format.upload_state import UploadState
from afterview.memory.plans.downsampling import ARRAYS, Downsampled, add_downsampled
from afterview.memory.plans.removal import Removal
from afterview.memory.remote.bucket import BucketClient


def same_camera(own: bytes, other: bytes) -> bool:
    """Whether two `camera.json` are of one camera: made at one moment under one id."""
    try:
        mine, theirs = json.loads(own), json.loads(other)
        return (mine["id"], mine["created"]) == (theirs["id"], theirs["created"])
    except (ValueError, LookupError, TypeError):
        return False


def is_no_camera(other: bytes) -> bool:
    """Whether a `camera.json` is damaged: it says nothing of whose camera it is."""
    try:
        values = decode_json(other, where="camera.json")
    except DamagedMemory:
        return True
    return not {"id", "created"} <= values.keys()


def small_files(camera: Path, manifest: Manifest, known: int, frames: int) -> list[str]:
    """What a reader needs beside the moving chunks: array metadata, and arrays of one number per frame from row `known` on."""
    generation = generation_name(manifest.generation)
    keys = ["camera.json", f"{generation}/spec.json", "frames/gaps/zarr.json"]
    keys += [f"{folder}/zarr.json" for folder in ("frames", IMAGES, generation)]
    for layout in camera_layouts(camera, manifest.generation):
        keys.append(f"{layout.name}/zarr.json")
        if layout.chunk > SEAL_FRAMES:
            first = known // layout.chunk * layout.chunk
            keys += [str(layout.file(camera, chunk).relative_to(camera)) for chunk in layout.chunks(first, frames)]
    return [*keys, *(f"frames/gaps/c.{chunk}.0" for chunk in range(-(-manifest.gaps // GAP_CHUNK)))]


def downsampled_arrays(camera: Path, tree: str) -> list[str]:
    """The metadata of the arrays of coarse tokens, without which their chunks cannot be read."""
    keys = [f"{tree}/{name}/zarr.json" for name in ARRAYS.values()]
    return [key for key in keys if (camera / key).exists()]


def published_manifest(camera: Path, manifest: Manifest, uploads: UploadState, frames: int) -> bytes:
    """`committed` as the store may say it: no more frames than it has, and as coarse those alone whose coarse chunks it has."""
    gaps = SealedFrames(camera, manifest.generation).gaps(manifest.gaps)
    count = sum(gap.before_frame < frames for gap in gaps)
    tree = generation_name(manifest.generation)
    downsampled = [
        Downsampled(first, first + SEAL_FRAMES)
        for part in manifest.downsampled
        for first in range(part.first, min(part.end, frames), SEAL_FRAMES)
        if part.erased or (tree, first // SEAL_FRAMES) in uploads.thinned
    ]
    return replace(manifest, frames=frames, gaps=count, downsampled=add_downsampled(downsampled, ())).encode()


def published_removals(objects: BucketClient, generation: int, frames: int) -> tuple[Removal, ...]:
    """What the store says is removed of the first `frames` frames; nothing where it says nothing of this generation. Raises StoreError."""
    theirs = objects.read("committed")
    if theirs is None:
        return ()
    try:
        manifest = Manifest.decode(theirs, where=objects.name)
    except DamagedMemory:
        return ()
    return tuple(gone for gone in manifest.removed if gone.end <= frames and manifest.generation == generation)
