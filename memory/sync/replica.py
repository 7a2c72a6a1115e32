"""A replica: reading a memory on another machine, from `s3://bucket/prefix` instead of a directory.

The small files that the recording machine publishes are kept in a cache directory, `committed` last, so that they always agree with each
other. Chunks are read from the bucket. A replica cannot record or forget: only the machine with the journal can. It sees what was
published: sealed frames, up to some minutes old.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from afterview.configs import UsageError
from afterview.configs.system_errors import describe
from afterview.memory.base.camera_names import PROBLEM
from afterview.memory.base.documents import decode_json
from afterview.memory.base.durable import make_directory, remove_tree, unlink, write_file
from afterview.memory.base.errors import DamagedMemory, FormatMismatch, MemoryNotFound, NotWritable, RepositoryError
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.base.store_address import SCHEME
from afterview.memory.directory import Memory, none_left
from afterview.memory.format.arrays import ZarrArrays
from afterview.memory.format.feature_spec_file import read_spec
from afterview.memory.format.layout import (
    IMAGES,
    StoredArray,
    checksum_holds,
    clips_array,
    feature_arrays,
    gaps_array,
    generation_name,
    generations,
    may_be_remote,
    scalar_arrays,
)
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed_writer import SealedWriter
from afterview.memory.format.upload_state import FRAMES, Published, Tree, UploadState, local_trees, upload_lock
from afterview.memory.plans.downsampling import can_downsample
from afterview.memory.plans.removal import present
from afterview.memory.remote.bucket import BucketClient, bucket_of
from afterview.memory.remote.settings import StoreSettings, is_endpoint, read_store, write_store
from afterview.memory.sync.publish import same_camera

_REMEDY = (
    "run `afterview fsck --deep --repair` and `afterview store flush` on the recording machine to publish it again"
)
_ATTEMPTS = 5  # the recording machine may publish while this reads; it does so every few minutes


def open_memory(place: str) -> Memory:
    """Open a memory for reading: a directory, or s3://bucket/prefix. Raises MemoryNotFound, UsageError, StoreError."""
    if not place.strip():
        raise UsageError("the memory's path is empty; name a directory")
    return Memory(replica_of(place) if place.startswith(SCHEME) else Path(place))


def replica_of(url: str, *, cache: Path | None = None, measured: bool = False) -> Path:
    """A directory that can be read like the memory at `url`, updated now. Raises MemoryNotFound, UsageError, StoreError.

    cache: where such directories are kept; default XDG_CACHE_HOME, else ~/.cache. measured: count the bytes that lie there, from a list
    of all objects. AWS_ENDPOINT_URL names the endpoint of a store that is not Amazon's. Damage there costs its camera alone, which Memory
    then names; it is raised if no camera is sound.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or None
    if endpoint is not None and not is_endpoint(endpoint):
        raise UsageError("AWS_ENDPOINT_URL: write http://host:port or https://host, without credentials")
    try:
        settings = StoreSettings(url=url, endpoint=endpoint, local_gigabytes=0)
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"the store's address: {why}") from None
    name = hashlib.sha256(f"{settings.url} {settings.endpoint}".encode()).hexdigest()[:16]
    directory = (cache or _cache()) / name
    try:
        make_directory(directory)
    except OSError as error:
        raise NotWritable(
            f"the cache of stores: {describe(error, directory, action='written')}; XDG_CACHE_HOME names another place"
        ) from None
    try:
        known = read_store(directory) == settings
    except DamagedMemory:  # of the cache
        known = False
    if not known:
        write_store(directory, settings)
    cameras, damaged = _update_all(directory, BucketClient(settings, "").folders())
    for gone in {entry.parent.name for entry in directory.glob("*/camera.json")} - {*cameras, *damaged}:
        remove_tree(directory / gone)
    for camera in cameras if measured else ():
        _measure(directory / camera)
    if damaged and not cameras:
        raise none_left(directory, damaged)
    if not cameras:
        raise MemoryNotFound(f"no memory is published at {url}; run `afterview store flush` on the recording machine")
    return directory


def is_replica(memory: Path) -> bool:
    """Whether a directory is one of those that `replica_of` keeps."""
    return memory.resolve().parent == _cache().resolve()


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path(os.path.expanduser("~")) / ".cache") / "afterview" / "stores"


def _update_all(directory: Path, names: Iterable[str]) -> tuple[list[str], dict[str, RepositoryError]]:
    """Fetch each camera; the names of those that are published, and the errors of those that are damaged there."""
    published: list[str] = []
    damaged: dict[str, RepositoryError] = {}
    for name in names:
        camera = directory / name
        try:
            if _update(camera):
                published.append(name)
                unlink(camera / PROBLEM)
        except (DamagedMemory, FormatMismatch) as error:
            damaged[name] = error
            write_file(camera / PROBLEM, str(error).encode())
    return published, damaged


def _update(camera: Path) -> bool:
    """Fetch what was published since the last update; False if nothing was ever published."""
    bucket = bucket_of(camera)
    assert bucket is not None, "store.json was written before"
    make_directory(camera)
    with upload_lock(camera):
        for _ in range(_ATTEMPTS):
            theirs = bucket.read("committed")
            if theirs is None:
                return False
            known = (camera / "committed").exists() and _still(camera, bucket)
            if known and (camera / "committed").read_bytes() == theirs:
                manifest = Manifest.read(camera)
                _lay_out(camera, manifest)
                _copy(camera, bucket, _chunks(camera, manifest, known=None))
                return True
            if not known:
                bucket.forget_read()  # the cache may hold another memory's chunks
            manifest = _fetch(camera, bucket, theirs, known=known)
            if bucket.read("committed") == theirs:
                _switch(camera, manifest, theirs)
                return True
    raise DamagedMemory(f"{bucket.name}: the manifest changed repeatedly during reading; try again")


def _fetch(camera: Path, bucket: BucketClient, committed: bytes, *, known: bool) -> Manifest:
    """Fetch the small files of a published state, from the first missing row on. known: some may be here."""
    before = Manifest.read(camera) if known else None
    manifest = Manifest.decode(committed, where=bucket.name, remedy=_REMEDY)
    same = before is not None and (before.generation, before.removed) == (manifest.generation, manifest.removed)
    rows = before.frames if before is not None and same else 0
    for key in ("camera.json", f"{generation_name(manifest.generation)}/spec.json"):
        _copy_document(camera, bucket, key)
    _lay_out(camera, manifest)
    _copy(camera, bucket, _chunks(camera, manifest, known=rows))
    return manifest


def _copy_document(camera: Path, bucket: BucketClient, key: str) -> None:
    data = bucket.read(key)
    if data is None:
        raise DamagedMemory(f"{bucket.name}: {key} is missing; {_REMEDY}")
    decode_json(data, where=f"{bucket.name}: {key}", remedy=_REMEDY)
    make_directory((camera / key).parent)
    write_file(camera / key, data)


def _lay_out(camera: Path, manifest: Manifest) -> None:
    """Write the metadata of groups and arrays. It follows from the spec, so the bucket's metadata need not be trusted."""
    spec, zarr_arrays = read_spec(camera, manifest.generation), ZarrArrays(camera, writable=True)
    sealed = SealedWriter(camera, manifest.generation)
    for group in ("", FRAMES, IMAGES, generation_name(manifest.generation)):
        if not (camera / group / "zarr.json").exists():
            zarr_arrays.create_group(group)
    arrays = [*scalar_arrays(), *feature_arrays(manifest.generation, spec)]
    for array, rows in [*((array, manifest.frames) for array in arrays), (gaps_array(), manifest.gaps)]:
        if zarr_arrays.wrong(array, rows):
            unlink(camera / array.name / "zarr.json")
            sealed.create_array(array, rows)
    if can_downsample(spec.tokens):  # chunks may be downsampled before the next update
        sealed.make_downsampled_arrays(manifest.frames, spec)


def _chunks(camera: Path, manifest: Manifest, *, known: int | None) -> list[tuple[StoredArray, int]]:
    """The chunks to fetch of gaps and of one number per frame.

    These are chunks with remembered rows from row `known` on (None: nothing is new), and those that are missing here because they were
    damaged in the bucket before.
    """
    ids, gaps = present(manifest.frames, manifest.removed), gaps_array()
    arrays = [*scalar_arrays()]
    if read_spec(camera, manifest.generation).tokens.clip_marks:
        arrays.append(clips_array(manifest.generation))
    rows = [(array, chunk) for array in arrays for chunk in np.unique(ids // array.chunk).tolist()]
    return [
        (array, chunk)
        for array, chunk in [*rows, *((gaps, chunk) for chunk in gaps.chunks(0, manifest.gaps))]
        if (known is not None and (array == gaps or (chunk + 1) * array.chunk > known))
        or not array.file(camera, chunk).exists()
    ]


def _measure(camera: Path) -> None:
    """Note how many bytes of sealed chunks the bucket holds, as the recording machine counts them."""
    bucket = bucket_of(camera)
    assert bucket is not None, "store.json was written before"
    found: dict[str, int] = {}
    for key, size in bucket.sizes().items():
        if may_be_remote(key) and not key.endswith("zarr.json"):
            tree = key.partition("/")[0]
            found[tree] = found.get(tree, 0) + size
    with upload_lock(camera):
        manifest, state = Manifest.read(camera), UploadState.read(camera)
        state = replace(state, published=Published(manifest.frames, manifest.generation))
        for name in {*state.trees, *found}:
            size = found.get(name, 0)
            state = state.with_tree(name, replace(state.trees.get(name, Tree(0)), bytes=size, remote_only=size))
        if state != UploadState.read(camera):
            state.write(camera)


def _still(camera: Path, bucket: BucketClient) -> bool:
    """Whether the camera in the bucket is the one that was read before. Another memory's may have replaced it."""
    theirs = bucket.read("camera.json")
    return theirs is not None and same_camera((camera / "camera.json").read_bytes(), theirs)


def _copy(camera: Path, bucket: BucketClient, chunks: Iterable[tuple[StoredArray, int]]) -> None:
    """Fetch chunks. A damaged one costs its frames until it is repaired; it is requested again each time."""

    def copy(item: tuple[StoredArray, int]) -> None:
        array, chunk = item
        path = array.file(camera, chunk)
        data = bucket.read(str(path.relative_to(camera)))
        if data is not None and len(data) == array.chunk_bytes and checksum_holds(data):
            make_directory(path.parent)
            write_file(path, data)
        else:
            unlink(path)

    bucket.each(copy, chunks)


def _switch(camera: Path, manifest: Manifest, committed: bytes) -> None:
    """Switch to the fetched state. Every chunk of features is remote only."""
    make_directory(camera / IMAGES)
    seals = manifest.frames // SEAL_FRAMES
    trees = {name: Tree(identity, sent=seals, released=seals) for name, identity in local_trees(camera).items()}
    names = {FRAMES, generation_name(manifest.generation)}
    published = Published(manifest.frames, manifest.generation)
    trees = {name: tree for name, tree in trees.items() if name in names}
    replace(UploadState(), trees=trees, published=published).write(camera)
    write_file(camera / "committed", committed)
    for number in generations(camera):
        if number != manifest.generation:
            remove_tree(camera / generation_name(number))
