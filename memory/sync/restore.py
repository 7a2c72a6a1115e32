"""Restoring: every remote-only chunk is fetched, so that the store is no longer needed."""

import shutil
from collections.abc import Callable
from pathlib import Path

from afterview.memory.base.durable import make_directory, write_file
from afterview.memory.base.errors import NotWritable, StoreRefused
from afterview.memory.base.held_directory import hold
from afterview.memory.base.lock import CameraLock
from afterview.memory.base.moved import require_in_place
from afterview.memory.format.layout import checksum_holds, may_be_remote
from afterview.memory.format.upload_state import UploadState, forget_upload_state, local_trees, upload_lock
from afterview.memory.remote.bucket import AT_ONCE, BucketClient, bucket_of
from afterview.memory.sync.publish import is_no_camera, same_camera

Progress = Callable[[int, int], None]  # bytes fetched, bytes in all


def restore_camera(
    camera: Path, bucket: BucketClient, progress: Progress = lambda done, total: None
) -> tuple[int, list[str]]:
    """Fetch what is not local; returns (bytes, keys of chunks with a wrong checksum). An interrupted run continues.

    Raises CameraBusy beside a writer, CameraMoved, NotWritable if the disk has no room, StoreRefused if the objects are of another memory's
    camera, StoreError.
    """
    held = hold(camera)
    camera = held.path
    with CameraLock(camera / "lock", camera=camera.name), upload_lock(camera):
        require_in_place(camera)
        theirs = bucket.read("camera.json")
        if theirs and not is_no_camera(theirs) and not same_camera((camera / "camera.json").read_bytes(), theirs):
            raise StoreRefused(f"{bucket.name}: holds the frames of another memory's camera")
        sizes = bucket.sizes()
        trees = local_trees(camera)
        wanted = [
            key
            for key in sorted(sizes)
            if may_be_remote(key) and key.partition("/")[0] in trees and not (camera / key).exists()
        ]
        total, free = sum(sizes[key] for key in wanted), shutil.disk_usage(camera).free
        if total > free:
            raise NotWritable(
                f"camera '{camera.name}': {total / 1e9:.3g} GB lie on {bucket.name} alone, but only {free / 1e9:.3g} GB are free here"
            )
        done, bad = 0, []
        for start in range(0, len(wanted), AT_ONCE):
            keys = wanted[start : start + AT_ONCE]
            found: list[bytes | None] = bucket.each(bucket.read, keys)
            for key, data in zip(keys, found, strict=True):
                if data is None:
                    continue
                if not key.endswith("zarr.json") and not checksum_holds(data):
                    bad.append(key)
                make_directory((camera / key).parent)
                write_file(camera / key, data)
                done += len(data)
            progress(done, total)
        require_in_place(camera)
        forget_upload_state(camera)
    return done, bad


def restore_chunk(camera: Path, key: str, place: tuple[str, int], size: int) -> bool:
    """Replace a damaged chunk by the bucket's copy; False if there is none, or if it is older than the last change of the chunk.

    place: the tree and seal of the chunk. size: bytes of the chunk. Raises StoreError.
    """
    state, bucket = UploadState.read(camera), bucket_of(camera)
    tree = state.trees.get(place[0])
    if bucket is None or tree is None or place[1] >= tree.sent or place in state.resend:
        return False
    theirs = bucket.read("camera.json")
    if theirs is None:
        return False
    if not same_camera(
        (camera / "camera.json").read_bytes(), theirs
    ):  # this camera's chunks may exist there nevertheless
        raise StoreRefused(
            f"{bucket.name}: cannot verify that these objects belong to this camera (its camera.json there differs or is damaged)"
        )
    data = bucket.read(key)
    if data is None or len(data) != size or not checksum_holds(data):
        return False
    make_directory((camera / key).parent)
    write_file(camera / key, data)
    return True
