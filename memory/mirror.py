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

from configs import UsageError
from memory.chunks import SealedFrames
from memory.coarse import can_be_coarse
from memory.commit import Commit
from memory.durable import make_directory, remove_tree, write_file
from memory.errors import DamagedMemory, MemoryNotFound
from memory.layout import IMAGES, SEAL_FRAMES, generation_name, generations
from memory.objects import CameraObjects, objects_of
from memory.publishing import same_camera, small_files
from memory.specfile import read_spec
from memory.store_settings import StoreSettings, read_store, write_store
from memory.uploaded import FRAMES, Tree, Uploads, locked, trees_here

_ATTEMPTS = 5  # its writer may publish while this reads; it does so once in some minutes


def mirror(url: str, *, cache: Path | None = None) -> Path:
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
    cameras = [camera for camera in CameraObjects(settings, "").folders() if _update(directory / camera)]
    for gone in {entry.parent.name for entry in directory.glob("*/camera.json")} - set(cameras):
        remove_tree(directory / gone)
    if not cameras:
        raise MemoryNotFound(
            f"{url}: no memory is published there; `afterimage store flush` on the machine that records it does so"
        )
    return directory


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "afterimage" / "stores"


def _update(camera: Path) -> bool:
    """Fetch what was published since; False where nothing was."""
    objects = objects_of(camera)
    assert objects is not None, "store.json was written before"
    make_directory(camera)
    with locked(camera):
        for _ in range(_ATTEMPTS):
            theirs = objects.read("committed")
            if theirs is None:
                return False
            known = (camera / "committed").exists() and _still(camera, objects)
            if known and (camera / "committed").read_bytes() == theirs:
                return True
            if not known:
                objects.forget_read()  # another memory's chunks may have lain there
            commit = _fetch(camera, objects, theirs, known=known)
            if objects.read("committed") == theirs:
                _switch(camera, commit, theirs)
                return True
    raise DamagedMemory(f"{objects.name}: is published faster than it can be read")


def _fetch(camera: Path, objects: CameraObjects, committed: bytes, *, known: bool) -> Commit:
    """The small files of a state that is being published, from the first row on that is not here yet. known: some may be."""
    before = Commit.read(camera) if known else None
    commit = Commit.decode(committed, where=objects.name)
    same = before is not None and (before.generation, before.removed) == (commit.generation, commit.removed)
    rows = before.frames if before is not None and same else 0
    _copy(camera, objects, ["camera.json", f"{generation_name(commit.generation)}/spec.json"])
    _copy(camera, objects, small_files(camera, commit, rows, commit.frames))
    spec = read_spec(camera, commit.generation)
    if can_be_coarse(spec.tokens):  # chunks may become coarse before this is brought up to date again
        SealedFrames(camera, commit.generation, writable=True).make_coarse_arrays(commit.frames, spec)
    return commit


def _still(camera: Path, objects: CameraObjects) -> bool:
    """Whether the camera there is the one that was read before: one of another memory may have taken its place."""
    theirs = objects.read("camera.json")
    return theirs is not None and same_camera((camera / "camera.json").read_bytes(), theirs)


def _copy(camera: Path, objects: CameraObjects, keys: Iterable[str]) -> None:
    def copy(key: str) -> None:
        data = objects.read(key)
        if data is not None:  # else an array of which every row was evicted
            make_directory((camera / key).parent)
            write_file(camera / key, data)

    objects.each(copy, keys)


def _switch(camera: Path, commit: Commit, committed: bytes) -> None:
    """Make it count: every chunk lies on the store."""
    make_directory(camera / IMAGES)
    seals = commit.frames // SEAL_FRAMES
    trees = {name: Tree(identity, sent=seals, released=seals) for name, identity in trees_here(camera).items()}
    names = {FRAMES, generation_name(commit.generation)}
    replace(Uploads(), trees={name: tree for name, tree in trees.items() if name in names}).write(camera)
    write_file(camera / "committed", committed)
    for number in generations(camera):
        if number != commit.generation:
            remove_tree(camera / generation_name(number))
