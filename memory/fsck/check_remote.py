"""What of a camera lies on its store, for `fsck`: that it is there, whole, and this camera's. Reads only."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.errors import DamagedMemory, StoreError
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.layout import IMAGES, MISSING, ArrayLayout, checksum_holds, generation_name
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.upload_state import (
    FILE,
    FRAMES,
    Published,
    Tree,
    UploadState,
    change,
    forget_uploads,
    locked,
    seal_keys,
    trees_here,
)
from afterview.memory.fsck.findings import Finding
from afterview.memory.plans.downsampling import ARRAYS, is_downsampled
from afterview.memory.plans.removal import present
from afterview.memory.remote.bucket import BucketClient, bucket_of
from afterview.memory.sync.publish import is_no_camera, same_camera, small_files
from afterview.memory.writing.erase_remote import object_traces, touched


@dataclass(frozen=True)
class Missent:
    """A seal that is here and was sent, but is not on the store."""

    key: str
    place: tuple[str, int]


class FarChunks:
    """The objects of a camera by one listing. Where that cannot be had, nothing is said about any of them."""

    def __init__(self, camera: Path, *, deep: bool = False) -> None:
        """deep: every object is read, and its checksum compared."""
        self.deep = deep
        self.camera = camera
        self.trouble: str | None = None  # why nothing can be said
        self.objects: BucketClient | None = None
        self.uploads = UploadState()
        self.sizes: dict[str, int] = {}
        self.lost_name = False  # its camera.json there is damaged; as chunks were sent, they are this camera's
        try:
            self.uploads = UploadState.read(camera)
            if self.uploads.trees or self._may_have_sent():
                self._list()
        except DamagedMemory:
            self.trouble = "which of them lie on the store is not known"
        except StoreError as error:
            self.trouble = str(error)

    def _may_have_sent(self) -> bool:
        """Whether chunks that are not here may lie on the store, though no note says so: it may be lost."""
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
        self.objects = bucket_of(self.camera)
        if self.objects is None:
            self.trouble = "chunks were moved to a store, but store.json is gone; `afterview store set` names it again"
            return
        theirs = self.objects.read("camera.json")
        if theirs is None and not self.uploads.trees:
            self.objects = None  # nothing was ever sent
            return
        self.lost_name = theirs is not None and is_no_camera(theirs) and bool(self.uploads.bytes)
        if not self.lost_name and (
            theirs is None or not same_camera((self.camera / "camera.json").read_bytes(), theirs)
        ):
            whose = "nothing" if theirs is None else "another memory's camera"
            self.trouble = f"{self.objects.name}: holds {whose} where this camera's chunks were sent"
            return
        self.sizes = self.objects.sizes()

    def check(self, key: str, size: int, *, name: str = "") -> str | None:
        """What is wrong with a chunk whose file is not here; None where it is on the store, or where that is not known."""
        if self.trouble is not None:
            return None
        if self.objects is None:
            return f"{name}{MISSING}"
        if key not in self.sizes:
            return f"{name}{MISSING}, here and on {self.objects.name}"
        if self.sizes[key] != size:
            return f"{name}has {self.sizes[key]} bytes instead of {size} on {self.objects.name}"
        if self.deep and not checksum_holds(self.objects.read(key) or b"\0" * 5):
            return f"{name}fails its checksum on {self.objects.name}"
        return None

    def rows(self, layout: ArrayLayout, chunk: int) -> NDArray[np.generic] | None:
        """All rows of a chunk that `check` finds sound; None for others."""
        key = str(layout.file(self.camera, chunk).relative_to(self.camera))
        data = self.objects.read(key) if self.objects is not None and key in self.sizes else None
        if data is None or len(data) != layout.chunk_bytes or not checksum_holds(data):
            return None
        return np.frombuffer(data[:-4], dtype=layout.dtype).reshape(layout.chunk, *layout.row)

    def missent(self, manifest: Manifest) -> Iterator[Missent]:
        """Chunks that are here and noted as sent, but are not there. (Downsampled ones of seals that are still being made so may be.)"""
        here = trees_here(self.camera)
        downsampled = [part for part in manifest.downsampled if part.erased]
        for name, tree in self.uploads.trees.items():
            for seal in range(tree.released, tree.sent) if name in here else ():
                for key in seal_keys(self.camera, name, seal):
                    if Path(key).parent.name in ARRAYS.values() and not is_downsampled(downsampled, seal * SEAL_FRAMES):
                        continue
                    if (
                        key not in self.sizes
                        and (self.camera / key).exists()
                        and (name, seal) not in self.uploads.again
                    ):
                        yield Missent(key, (name, seal))


def check_store(camera: Path, manifest: Manifest, far: FarChunks) -> Iterator[Finding]:
    """The note of what was sent; the store itself; forgotten frames on it; and chunks that were sent, but have vanished from it."""
    try:
        UploadState.read(camera)
    except DamagedMemory as error:

        def begin_anew() -> str:
            forget_uploads(camera)
            return "everything that is here is sent once more; chunks that are not are read from the store as before"

        yield Finding(camera / FILE, str(error).partition(": ")[2].partition(";")[0], fix=begin_anew)
        return
    if far.trouble is not None:
        away = max((tree.released for tree in far.uploads.trees.values()), default=0) * SEAL_FRAMES
        yield Finding(
            camera / FILE, f"{far.trouble}; the chunks of up to {away} frames that lie there were not checked"
        )
        return
    if far.objects is None:
        return
    yield from _check_published(camera, manifest, far, far.objects)
    erased = [gone for gone in manifest.removed if gone.erased]  # others may still lie where blanked rows are
    for gone in erased:
        if gone.reason == "forgotten":
            items = touched(camera, far.uploads, gone, erased, sealed=manifest.frames)
            there = [item for item in items if item.key in far.sizes and item.place not in far.uploads.again]
            for trace in object_traces(camera, far.objects, gone, there):
                what = f"still holds forgotten frames, on {far.objects.name}; forget the span again"
                yield Finding(Path(trace.rpartition(": ")[0]), what, (gone.first, gone.end))
    for lost in far.missent(manifest):

        def send_again(place: tuple[str, int] = lost.place) -> str:
            change(camera, {place})
            return "is noted to be sent again"

        yield Finding(
            camera / lost.key, f"was sent to {far.objects.name}, but is not there; it is whole here", fix=send_again
        )


def _check_published(camera: Path, manifest: Manifest, far: FarChunks, objects: BucketClient) -> Iterator[Finding]:
    """What another machine reads beside the chunks is there; deep: and as it was sent. (Array metadata it makes itself.)"""

    def put(key: str) -> Callable[[], str]:
        def fix() -> str:
            with locked(camera):
                objects.put(key, (camera / key).read_bytes())
            return "sent again"

        return fix

    def publish_anew() -> str:
        with locked(camera):
            replace(UploadState.read(camera), published=Published()).write(camera)
        return "the next watch or `store flush` publishes it anew"

    if far.lost_name:
        yield Finding(camera / "camera.json", f"is damaged on {objects.name}", fix=put("camera.json"))
    published, frames = far.uploads.published, far.uploads.trees.get(FRAMES, Tree(0))
    changing = {seal for name, seal in far.uploads.again if name == FRAMES}
    for gone in manifest.removed:
        if not gone.erased:
            changing |= set(range(gone.first // SEAL_FRAMES, gone.end // SEAL_FRAMES + 1))
    images = [f"{IMAGES}/{seal}/zarr.json" for seal in range(frames.sent) if seal not in changing]
    small = small_files(camera, manifest, 0, published.frames) if published.generation == manifest.generation else []
    small = [key for key in small if not key.endswith(("zarr.json", "camera.json"))]
    wanted = [key for key in [*images, *small] if (camera / key).exists()]
    for key in [*wanted, *(["committed"] if published.frames else [])]:
        wrong = None if key in far.sizes else "is missing"
        if wrong is None and far.deep and not _as_sent(camera, key, objects.read(key) or b"", published):
            wrong = "is not as it was sent"
        if wrong and UploadState.read(camera) == far.uploads:  # else it was sent or erased meanwhile
            yield Finding(camera / key, f"{wrong}, on {objects.name}", fix=put(key) if key in images else publish_anew)


def _as_sent(camera: Path, key: str, data: bytes, published: Published) -> bool:
    if key == "committed":
        return zlib.crc32(data) == published.crc
    if key.endswith(".json"):
        return data == (camera / key).read_bytes()
    return checksum_holds(data)  # arrays of one number per frame have grown here since
