"""Checking the objects of a camera, for `fsck`: that they exist, are whole, and are this camera's. Read-only."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.errors import DamagedMemory, StoreError, Unreadable
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.layout import IMAGES, MISSING, StoredArray, checksum_holds, generation_name
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.upload_state import (
    FILE,
    FRAMES,
    Published,
    Tree,
    UploadState,
    forget_upload_state,
    local_trees,
    note_changed,
    seal_keys,
    upload_lock,
)
from afterview.memory.fsck.findings import Finding
from afterview.memory.plans.downsampling import ARRAYS, is_downsampled
from afterview.memory.plans.removal import present
from afterview.memory.remote.bucket import BucketClient, bucket_of
from afterview.memory.sync.publish import is_no_camera, same_camera, small_files
from afterview.memory.writing.erase_remote import object_traces, touched


@dataclass(frozen=True)
class LostObject:
    """A chunk that is local and was sent, but is not in the bucket."""

    key: str
    place: tuple[str, int]


class RemoteChunks:
    """The objects of a camera, from one listing. If the listing fails, nothing is reported about them."""

    def __init__(self, camera: Path, *, deep: bool = False) -> None:
        """deep: read every object and compare its checksum."""
        self.deep = deep
        self.camera = camera
        self.trouble: str | None = None  # why nothing can be checked
        self.unusable = False  # the reason is that the store does not answer or refuses: no damage
        self.bucket: BucketClient | None = None
        self.state = UploadState()
        self.sizes: dict[str, int] = {}
        self.lost_name = False  # its remote camera.json is damaged; chunks were sent, so the objects are this camera's
        try:
            self.state = UploadState.read(camera)
            if self.state.trees or self._may_have_sent():
                self._list()
        except DamagedMemory:
            self.trouble = "it is not known which chunks lie on the store"
        except (StoreError, Unreadable) as error:
            self.trouble, self.unusable = str(error), True

    def _may_have_sent(self) -> bool:
        """Whether chunks that are not local may lie in the bucket although the upload state does not say so: it may be lost."""
        if bucket_of(self.camera) is None:
            return False
        manifest = Manifest.read(self.camera)
        ids = present(manifest.frames, manifest.removed)
        return any(
            not (self.camera / key).exists()
            for tree in (FRAMES, generation_name(manifest.generation))
            for seal in np.unique(ids // SEAL_FRAMES).tolist()
            for key in seal_keys(self.camera, tree, seal)
        )

    def _list(self) -> None:
        self.bucket = bucket_of(self.camera)
        if self.bucket is None:
            self.trouble = "chunks were moved to a store, but store.json is missing; name the store again with `afterview store set`"
            return
        theirs = self.bucket.read("camera.json")
        if theirs is None and not self.state.trees:
            self.bucket = None  # nothing was ever sent
            return
        self.lost_name = theirs is not None and is_no_camera(theirs) and bool(self.state.bytes)
        if not self.lost_name and (
            theirs is None or not same_camera((self.camera / "camera.json").read_bytes(), theirs)
        ):
            whose = "nothing" if theirs is None else "another memory's camera"
            self.trouble = f"{self.bucket.name}: holds {whose} where this camera's chunks were sent"
            return
        self.sizes = self.bucket.sizes()

    def check(self, key: str, size: int, *, name: str = "") -> str | None:
        """What is wrong with a chunk that is not local; None if it is in the bucket, or if that is unknown."""
        if self.trouble is not None:
            return None
        if self.bucket is None:
            return f"{name}{MISSING}"
        if key not in self.sizes:
            return f"{name}{MISSING}, here and on {self.bucket.name}"
        if self.sizes[key] != size:
            return f"{name}has {self.sizes[key]} bytes instead of {size} on {self.bucket.name}"
        if self.deep and not checksum_holds(self.bucket.read(key) or b"\0" * 5):
            return f"{name}fails its checksum on {self.bucket.name}"
        return None

    def rows(self, array: StoredArray, chunk: int) -> NDArray[np.generic] | None:
        """All rows of a chunk that `check` accepts; None for others."""
        key = str(array.file(self.camera, chunk).relative_to(self.camera))
        data = self.bucket.read(key) if self.bucket is not None and key in self.sizes else None
        if data is None or len(data) != array.chunk_bytes or not checksum_holds(data):
            return None
        return np.frombuffer(data[:-4], dtype=array.dtype).reshape(array.chunk, *array.row)

    def lost_objects(self, manifest: Manifest) -> Iterator[LostObject]:
        """Chunks that are local and noted as sent, but not in the bucket. (Not those of seals whose downsampling is unfinished.)"""
        local = local_trees(self.camera)
        downsampled = [part for part in manifest.downsampled if part.erased]
        for name, tree in self.state.trees.items():
            for seal in range(tree.released, tree.sent) if name in local else ():
                for key in seal_keys(self.camera, name, seal):
                    if Path(key).parent.name in ARRAYS.values() and not is_downsampled(downsampled, seal * SEAL_FRAMES):
                        continue
                    if key not in self.sizes and (self.camera / key).exists() and (name, seal) not in self.state.resend:
                        yield LostObject(key, (name, seal))


def check_store(camera: Path, manifest: Manifest, remote: RemoteChunks) -> Iterator[Finding]:
    """The upload state, the bucket, forgotten frames in it, and chunks that were sent but are missing there."""
    try:
        UploadState.read(camera)
    except DamagedMemory as error:

        def begin_anew() -> str:
            forget_upload_state(camera)
            return "everything that is local is sent again; other chunks are read from the store as before"

        yield Finding(camera / FILE, str(error).partition(": ")[2].partition(";")[0], fix=begin_anew)
        return
    if remote.trouble is not None:
        remote_only = max((tree.released for tree in remote.state.trees.values()), default=0) * SEAL_FRAMES
        some = (
            f"the chunks of up to {remote_only} frames, which lie there alone," if remote_only else "the chunks there"
        )
        what = f"{remote.trouble}; {some} were not checked"
        yield Finding(camera / FILE, what, severity="unchecked" if remote.unusable else "damage")
        return
    if remote.bucket is None:
        return
    yield from _check_published(camera, manifest, remote, remote.bucket)
    erased = [
        gone for gone in manifest.removed if gone.erased
    ]  # other removals are not complete, and their rows are not blank yet
    for gone in erased:
        if gone.reason == "forgotten":
            items = touched(camera, remote.state, gone, erased, sealed=manifest.frames)
            there = [item for item in items if item.key in remote.sizes and item.place not in remote.state.resend]
            for trace in object_traces(camera, remote.bucket, gone, there):
                what = f"still holds forgotten frames, on {remote.bucket.name}; forget the span again"
                yield Finding(Path(trace.rpartition(": ")[0]), what, (gone.first, gone.end))
    for lost in remote.lost_objects(manifest):

        def send_again(place: tuple[str, int] = lost.place) -> str:
            note_changed(camera, {place})
            return "will be sent again"

        yield Finding(
            camera / lost.key, f"was sent to {remote.bucket.name}, but is not there; it is whole here", fix=send_again
        )


def _check_published(camera: Path, manifest: Manifest, remote: RemoteChunks, bucket: BucketClient) -> Iterator[Finding]:
    """The published small files exist; deep: and are as they were sent. (A replica derives array metadata itself.)"""

    def put(key: str) -> Callable[[], str]:
        def fix() -> str:
            with upload_lock(camera):
                bucket.put(key, (camera / key).read_bytes())
            return "sent again"

        return fix

    def publish_anew() -> str:
        with upload_lock(camera):
            replace(UploadState.read(camera), published=Published()).write(camera)
        return "the next watch or `store flush` publishes it again"

    if remote.lost_name:
        yield Finding(camera / "camera.json", f"is damaged on {bucket.name}", fix=put("camera.json"))
    published, frames = remote.state.published, remote.state.trees.get(FRAMES, Tree(0))
    changing = {seal for name, seal in remote.state.resend if name == FRAMES}
    for gone in manifest.removed:
        if not gone.erased:
            changing |= set(range(gone.first // SEAL_FRAMES, gone.end // SEAL_FRAMES + 1))
    images = [f"{IMAGES}/{seal}/zarr.json" for seal in range(frames.sent) if seal not in changing]
    small = small_files(camera, manifest, 0, published.frames) if published.generation == manifest.generation else []
    small = [key for key in small if not key.endswith(("zarr.json", "camera.json"))]
    wanted = [key for key in [*images, *small] if (camera / key).exists()]
    for key in [*wanted, *(["committed"] if published.frames else [])]:
        wrong = None if key in remote.sizes else "is missing"
        if wrong is None and remote.deep and not _as_sent(camera, key, bucket.read(key) or b"", published):
            wrong = "is not as it was sent"
        if wrong and UploadState.read(camera) == remote.state:  # otherwise it was sent or erased meanwhile
            yield Finding(camera / key, f"{wrong}, on {bucket.name}", fix=put(key) if key in images else publish_anew)


def _as_sent(camera: Path, key: str, data: bytes, published: Published) -> bool:
    if key == "committed":
        return zlib.crc32(data) == published.crc
    if key.endswith(".json"):
        return data == (camera / key).read_bytes()
    return checksum_holds(data)  # local arrays of one number per frame have grown since
