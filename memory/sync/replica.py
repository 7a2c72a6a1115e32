"""A memory that lies on a store, read on another machine: `s3://bucket/prefix` in place of a directory.

The small files that its writer publishes are kept in a cache directory, `committed` last, so that they always agree with each other;
chunks are read from the store. Nothing can be recorded or forgotten here: that is the business of the machine that has the journal.
What it sees is what was published: sealed frames, up to some minutes old.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from afterview.configs import UsageError
from afterview.memory.base.documents import decode_json
from afterview.memory.base.durable import make_directory, remove_tree, unlink, write_file
from afterview.memory.base.errors import DamagedMemory, MemoryNotFound
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.directory import Memory
from afterview.memory.format.arrays import Arrays
from afterview.memory.format.layout import (
    IMAGES,
    ArrayLayout,
    checksum_holds,
    feature_layouts,
    gaps_layout,
    generation_name,
    generations,
    scalar_layouts,
)
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed import SealedFrames
from afterview.memory.format.spec_file import read_spec
from afterview.memory.format.upload_state import FRAMES, Tree, UploadState, locked, trees_here
from afterview.memory.plans.downsampling import can_downsample
from afterview.memory.plans.removal import present
from afterview.memory.remote.bucket import BucketClient, bucket_of
from afterview.memory.remote.settings import SCHEME, StoreSettings, read_store, write_store
from afterview.memory.sync.publish import same_camera

_REMEDY = (
    "`afterview fsck --deep --repair` and `afterview store flush`, on the machine that records it, publish it anew"
)
_ATTEMPTS = 5  # its writer may publish while this reads; it does so once in some minutes


def open_memory(place: str) -> Memory:
    """Open a memory for reading: a directory, or s3://bucket/prefix. Raises MemoryNotFound, UsageError, StoreError."""
    if not place.strip():
        raise UsageError("the memory's path is empty; name a directory")
    return Memory(replica_of(place) if place.startswith(SCHEME) else Path(place))


def replica_of(url: str, *, cache: Path | None = None) -> Path:
    """A directory that can be read like the memory at `url`, brought up to date. Raises MemoryNotFound, UsageError, StoreError.

    cache: where such directories are kept; default XDG_CACHE_HOME, else ~/.cache. The endpoint of a store that is not Amazon's comes
    from AWS_ENDPOINT_URL.
    """
    try:
        settings = StoreSettings(url=url, endpoint=os.environ.get("AWS_ENDPOINT_URL") or None, local_gigabytes=0)
    except ValueError:
        raise UsageError(
            "write s3://bucket/prefix, and AWS_ENDPOINT_URL=http(s)://host:port; neither with credentials"
        ) from None
    name = hashlib.sha256(f"{settings.url} {settings.endpoint}".encode()).hexdigest()[:16]
    directory = (cache or _cache()) / name
    make_directory(directory)
    if not (directory / "store.json").exists() or read_store(directory) != settings:
        write_store(directory, settings)
    cameras = [camera for camera in BucketClient(settings, "").folders() if _update(directory / camera)]
    for gone in {entry.parent.name for entry in directory.glob("*/camera.json")} - set(cameras):
        remove_tree(directory / gone)
    if not cameras:
        raise MemoryNotFound(
            f"{url}: no memory is published there; `afterview store flush` on the machine that records it does so"
        )
    return directory


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "afterview" / "stores"


def _update(camera: Path) -> bool:
    """Fetch what was published since; False where nothing was."""
    objects = bucket_of(camera)
    assert objects is not None, "store.json was written before"
    make_directory(camera)
    with locked(camera):
        for _ in range(_ATTEMPTS):
            theirs = objects.read("committed")
            if theirs is None:
                return False
            known = (camera / "committed").exists() and _still(camera, objects)
            if known and (camera / "committed").read_bytes() == theirs:
                manifest = Manifest.read(camera)
                _lay_out(camera, manifest)
                _copy(camera, objects, _chunks(camera, manifest, known=None))
                return True
            if not known:
                objects.forget_read()  # another memory's chunks may have lain there
            manifest = _fetch(camera, objects, theirs, known=known)
            if objects.read("committed") == theirs:
                _switch(camera, manifest, theirs)
                return True
    raise DamagedMemory(f"{objects.name}: is published faster than it can be read")


def _fetch(camera: Path, objects: BucketClient, committed: bytes, *, known: bool) -> Manifest:
    """The small files of a state that is being published, from the first row on that is not here yet. known: some may be."""
    before = Manifest.read(camera) if known else None
    manifest = Manifest.decode(committed, where=objects.name, remedy=_REMEDY)
    same = before is not None and (before.generation, before.removed) == (manifest.generation, manifest.removed)
    rows = before.frames if before is not None and same else 0
    for key in ("camera.json", f"{generation_name(manifest.generation)}/spec.json"):
        _copy_document(camera, objects, key)
    _lay_out(camera, manifest)
    _copy(camera, objects, _chunks(camera, manifest, known=rows))
    return manifest


def _copy_document(camera: Path, objects: BucketClient, key: str) -> None:
    data = objects.read(key)
    if data is None:
        raise DamagedMemory(f"{objects.name}: {key} is missing; {_REMEDY}")
    decode_json(data, where=f"{objects.name}: {key}", remedy=_REMEDY)
    make_directory((camera / key).parent)
    write_file(camera / key, data)


def _lay_out(camera: Path, manifest: Manifest) -> None:
    """Make the metadata of the groups and arrays. It follows from the spec, so that what the store has of it need not be believed."""
    spec, arrays = read_spec(camera, manifest.generation), Arrays(camera, writable=True)
    sealed = SealedFrames(camera, manifest.generation, writable=True)
    for group in ("", FRAMES, IMAGES, generation_name(manifest.generation)):
        if not (camera / group / "zarr.json").exists():
            arrays.create_group(group)
    layouts = [*scalar_layouts(), *feature_layouts(manifest.generation, spec)]
    for layout, rows in [*((layout, manifest.frames) for layout in layouts), (gaps_layout(), manifest.gaps)]:
        if arrays.wrong(layout, rows):
            unlink(camera / layout.name / "zarr.json")
            sealed.create_array(layout, rows)
    if can_downsample(spec.tokens):  # chunks may become coarse before this is brought up to date again
        sealed.make_downsampled_arrays(manifest.frames, spec)


def _chunks(camera: Path, manifest: Manifest, *, known: int | None) -> list[tuple[ArrayLayout, int]]:
    """The chunks to fetch of gaps, and of one number per frame: those that hold remembered rows from row `known` on (None: nothing is new),
    and those that are not here, because they were damaged there before."""
    ids, gaps = present(manifest.frames, manifest.removed), gaps_layout()
    rows = [(layout, chunk) for layout in scalar_layouts() for chunk in np.unique(ids // layout.chunk).tolist()]
    return [
        (layout, chunk)
        for layout, chunk in [*rows, *((gaps, chunk) for chunk in gaps.chunks(0, manifest.gaps))]
        if (known is not None and (layout == gaps or (chunk + 1) * layout.chunk > known))
        or not layout.file(camera, chunk).exists()
    ]


def _still(camera: Path, objects: BucketClient) -> bool:
    """Whether the camera there is the one that was read before: one of another memory may have taken its place."""
    theirs = objects.read("camera.json")
    return theirs is not None and same_camera((camera / "camera.json").read_bytes(), theirs)


def _copy(camera: Path, objects: BucketClient, chunks: Iterable[tuple[ArrayLayout, int]]) -> None:
    """Fetch chunks. What one that is damaged there costs is its frames, until it is whole again: it is asked for each time."""

    def copy(item: tuple[ArrayLayout, int]) -> None:
        layout, chunk = item
        path = layout.file(camera, chunk)
        data = objects.read(str(path.relative_to(camera)))
        if data is not None and len(data) == layout.chunk_bytes and checksum_holds(data):
            make_directory(path.parent)
            write_file(path, data)
        else:
            unlink(path)

    objects.each(copy, chunks)


def _switch(camera: Path, manifest: Manifest, committed: bytes) -> None:
    """Make it count: every chunk lies on the store."""
    make_directory(camera / IMAGES)
    seals = manifest.frames // SEAL_FRAMES
    trees = {name: Tree(identity, sent=seals, released=seals) for name, identity in trees_here(camera).items()}
    names = {FRAMES, generation_name(manifest.generation)}
    replace(UploadState(), trees={name: tree for name, tree in trees.items() if name in names}).write(camera)
    write_file(camera / "committed", committed)
    for number in generations(camera):
        if number != manifest.generation:
            remove_tree(camera / generation_name(number))
