"""The way back from a store: every chunk that lies there alone is fetched, and the store is needed no more."""

import shutil
from collections.abc import Callable
from pathlib import Path

from afterview.memory.base.durable import make_directory, write_file
from afterview.memory.base.errors import NotWritable, StoreRefused
from afterview.memory.base.lock import CameraLock
from afterview.memory.format.layout import checksum_holds, may_be_remote
from afterview.memory.format.upload_state import UploadState, forget_uploads, locked, trees_here
from afterview.memory.remote.bucket import AT_ONCE, BucketClient, bucket_of
from afterview.memory.sync.publish import is_no_camera, same_camera

Progress = Callable[[int, int], None]  # bytes fetched, bytes in all


def restore_camera(
    camera: Path, objects: BucketClient, progress: Progress = lambda done, total: None
) -> tuple[int, list[str]]:
    """Fetch what is not here; returns (bytes, chunks that fail their checksum). Interrupted, it goes on where it was.

    Raises CameraBusy beside a writer, NotWritable where the disk has no room for it, StoreRefused where another memory's camera lies
    there, StoreError.
    """
    with CameraLock(camera / "lock", camera=camera.name), locked(camera):
        theirs = objects.read("camera.json")
        if theirs and not is_no_camera(theirs) and not same_camera((camera / "camera.json").read_bytes(), theirs):
            raise StoreRefused(f"{objects.name}: holds the frames of another memory's camera")
        sizes = objects.sizes()
        trees = trees_here(camera)
        wanted = [
            key
            for key in sorted(sizes)
            if may_be_remote(key) and key.partition("/")[0] in trees and not (camera / key).exists()
        ]
        total, free = sum(sizes[key] for key in wanted), shutil.disk_usage(camera).free
        if total > free:
            raise NotWritable(
                f"camera '{camera.name}': {total / 1e9:.3g} GB lie on {objects.name} alone, but only {free / 1e9:.3g} GB are free here"
            )
        done, bad = 0, []
        for start in range(0, len(wanted), AT_ONCE):
            keys = wanted[start : start + AT_ONCE]
            found: list[bytes | None] = objects.each(objects.read, keys)
            for key, data in zip(keys, found, strict=True):
                if data is None:
                    continue
                if not key.endswith("zarr.json") and not checksum_holds(data):
                    bad.append(key)
                make_directory((camera / key).parent)
                write_file(camera / key, data)
                done += len(data)
            progress(done, total)
        forget_uploads(camera)
    return done, bad


def restore_chunk(camera: Path, key: str, place: tuple[str, int], size: int) -> bool:
    """Put the store's copy of a chunk in place of a damaged one; False where it has none, or one of before the chunk was changed.

    place: the tree and seal that it belongs to. size: bytes of the chunk. Raises StoreError.
    """
    uploads, objects = UploadState.read(camera), bucket_of(camera)
    tree = uploads.trees.get(place[0])
    if objects is None or tree is None or place[1] >= tree.sent or place in uploads.again:
        return False
    theirs = objects.read("camera.json")
    if theirs is None:
        return False
    if not same_camera((camera / "camera.json").read_bytes(), theirs):  # its chunks may be there all the same
        raise StoreRefused(f"{objects.name}: does not say that it holds this camera's chunks")
    data = objects.read(key)
    if data is None or len(data) != size or not checksum_holds(data):
        return False
    make_directory((camera / key).parent)
    write_file(camera / key, data)
    return True
