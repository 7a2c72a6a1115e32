"""Moving the sealed part of one camera to its store, one step at a time: send, release, send what changed, drop, publish.

A seal is sent after it was committed here, in order; noted as sent once the store has confirmed every object of it; and its local
copies go only after the store was asked for the size of each. Every step can be interrupted anywhere and done again. The newest
chunks stay here, too, up to `local_gigabytes`. Synchronous; whoever calls `step` waits for the network, never the camera's writer.

Publishing puts the small files beside the chunks (`camera.json`, specs, times, `committed` last), so that another machine can
read the memory from the store alone, or have it back when this one is lost.
"""

import shutil
import time
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from afterview.memory.base.durable import fsync_directory, unlink
from afterview.memory.base.errors import StoreError, StoreRefused
from afterview.memory.base.failpoints import reach
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.generation_build import frames_built, is_building
from afterview.memory.format.layout import IMAGES, generation_name, generations
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.upload_state import (
    FRAMES,
    Published,
    Tree,
    UploadState,
    fine_keys,
    locked,
    seal_keys,
    trees_here,
)
from afterview.memory.plans.downsampling import ARRAYS, is_downsampled
from afterview.memory.remote.bucket import BucketClient
from afterview.memory.sync.downsample_remote import RemoteDownsampling
from afterview.memory.sync.publish import downsampled_arrays, is_no_camera, published_manifest, same_camera, small_files
from afterview.memory.sync.reconcile import reconcile

PUBLISH_EVERY_S = (
    300.0  # while there is something to send; a round of small objects costs as many requests as two seals
)
LEAST_FREE = 1e9  # bytes of the disk; below, nothing that was sent stays here


class Upload:
    """The steps of one camera. Any number may exist, in any process: each step is taken alone."""

    def __init__(self, camera: Path, objects: BucketClient, *, local_bytes: float) -> None:
        """local_bytes: of sent chunks that stay here."""
        self._camera, self._objects, self._local_bytes = camera, objects, local_bytes
        self._verified = False
        self._published_at = -PUBLISH_EVERY_S  # monotonic
        self._downsampling = RemoteDownsampling(camera)

    def step(self, *, finish: bool = False, only_downsampling: bool = False) -> bool:
        """Do the next thing; False: nothing is left to do. finish: publish without waiting for more. Raises StoreError, OSError.

        only_downsampling: of all things those alone that making old frames coarse needs.
        """
        with locked(self._camera):
            uploads = self._current()
            try:
                uploads = uploads if self._verified else self._verify_owner(uploads)
                manifest = Manifest.read(self._camera)
                if uploads.unsettled:
                    done: UploadState | None = reconcile(self._camera, self._objects, uploads)
                elif only_downsampling:
                    done = self._downsample_next(uploads, manifest)
                else:
                    done = self._step(uploads, manifest, finish=finish)
            except StoreError:
                self._verified = False  # it may come back as another: empty, for one
                raise
            if done is None:
                return False
            replace(done, keeps_versions=done.keeps_versions or self._objects.keeps_versions).write(self._camera)
            return True

    def _step(self, uploads: UploadState, manifest: Manifest, *, finish: bool) -> UploadState | None:
        for name, identity in trees_here(self._camera).items():
            if uploads.trees[name].identity != identity:
                return self._begin_anew(uploads, name, identity)
        due = time.monotonic() - self._published_at >= PUBLISH_EVERY_S
        if due and (published := self._publish(uploads, manifest)):
            return published
        if uploads.again:
            return self._send_again(uploads, manifest)
        if self._crowded(uploads) and (released := self._release(uploads, manifest)):
            return released
        if sent := self._send(uploads, manifest):
            return sent
        if finish and (published := self._publish(uploads, manifest)):
            return published
        return self._downsample_next(uploads, manifest) or self._drop(uploads)

    def _downsample_next(self, uploads: UploadState, manifest: Manifest) -> UploadState | None:
        if thinned := self._finish_remote(uploads, manifest):
            return thinned
        return uploads if self._downsampling.step(uploads, manifest) else None

    def waiting(self) -> tuple[int, int]:
        """(seals, bytes) that are sealed here and not on the store yet, images and features together."""
        uploads = self._current()
        items = {
            (name, seal)
            for name, seals in _sealed(self._camera).items()
            for seal in range(uploads.trees[name].sent, seals)
        }
        items |= set(uploads.again)
        sizes = [self._here(seal_keys(self._camera, tree, seal)) for tree, seal in sorted(items)]
        seals = {seal for (_, seal), found in zip(sorted(items), sizes, strict=True) if found}
        return len(seals), sum(sum(found.values()) for found in sizes)

    # --- the steps: each returns the state after it, or None where there was nothing to do ---

    def _current(self) -> UploadState:
        """The noted state, with the trees that there are."""
        uploads = UploadState.read(self._camera)
        for name, identity in trees_here(self._camera).items():
            tree = uploads.trees.get(name)
            if tree is None:
                uploads = uploads.with_tree(name, Tree(identity))
        return uploads

    def _verify_owner(self, uploads: UploadState) -> UploadState:
        """Make sure that the store is this camera's. A store that has lost everything gets again what is still here."""
        own = (self._camera / "camera.json").read_bytes()
        theirs = self._objects.read("camera.json")
        if theirs is None:
            self._objects.put("camera.json", own)
            trees = {name: replace(tree, sent=tree.released, bytes=0, away=0) for name, tree in uploads.trees.items()}
            uploads = replace(uploads, trees=trees, again=(), published=Published())
        elif is_no_camera(theirs) and any(tree.sent for tree in uploads.trees.values()):
            self._objects.put("camera.json", own)  # damaged there since: these are this camera's objects
        elif not same_camera(own, theirs):
            raise StoreRefused(
                f"{self._objects.name}: holds the frames of another memory's camera; choose another prefix"
            )
        uploads = replace(uploads, silent_since=None, why="")
        uploads.write(self._camera)  # before anything is sent: whoever erases must know that there may be something
        self._verified = True
        return uploads

    def _begin_anew(self, uploads: UploadState, name: str, identity: int) -> UploadState:
        """A generation that was given up, and begun again for another model under the same number."""
        self._objects.delete(self._objects.sizes(name))
        again = tuple(item for item in uploads.again if item[0] != name)
        return replace(uploads.with_tree(name, Tree(identity)), again=again)

    def _send(self, uploads: UploadState, manifest: Manifest) -> UploadState | None:
        """The oldest seal that is not sent yet, of whichever tree. Seals of which nothing is left here are passed over."""
        sealed = _sealed(self._camera)
        for name in sorted(sealed, key=lambda name: uploads.trees[name].sent):
            tree = uploads.trees[name]
            sent = tree.sent
            found: dict[str, int] = {}
            while sent < sealed[name] and not (found := self._here(self._keys(manifest, name, sent))):
                sent += 1
            if found:
                self._put([*found, *_beside(name, sent)])
                reach("upload.after-put")
                size = sum(found.values())
                return uploads.with_tree(name, replace(tree, sent=sent + 1, bytes=tree.bytes + size))
            if sent > tree.sent:
                return uploads.with_tree(name, replace(tree, sent=sent))
        return None

    def _send_again(self, uploads: UploadState, manifest: Manifest) -> UploadState:
        """A seal that was changed after it had been sent. What of it was released before is released again."""
        name, seal = uploads.again[0]
        left = replace(uploads, again=uploads.again[1:])
        tree = uploads.trees[name]
        found = self._here(self._keys(manifest, name, seal)) if name in trees_here(self._camera) else {}
        if not found:
            return left
        before: list[int | None] = self._objects.each(self._objects.size, found)
        replace(uploads, unsettled=True).write(self._camera)
        self._put([*found, *_beside(name, seal)])
        new = sum(found.values()) - sum(size or 0 for size in before)
        left = left.with_tree(name, replace(tree, bytes=tree.bytes + new))
        return self._let_go(left, name, list(found)) if seal < tree.released else left

    def _crowded(self, uploads: UploadState) -> bool:
        here = uploads.bytes - uploads.away
        return here > self._local_bytes or (here > 0 and shutil.disk_usage(self._camera).free < LEAST_FREE)

    def _release(self, uploads: UploadState, manifest: Manifest) -> UploadState | None:
        """The local copies of the oldest seal that has any."""
        held = {name: tree for name, tree in uploads.trees.items() if tree.released < tree.sent}
        if not held:
            return None
        name = min(held, key=lambda name: held[name].released)
        tree = held[name]
        replace(uploads, unsettled=True).write(self._camera)
        keys = self._keys(manifest, name, tree.released)
        return self._let_go(uploads.with_tree(name, replace(tree, released=tree.released + 1)), name, keys)

    def _let_go(self, uploads: UploadState, name: str, keys: list[str]) -> UploadState:
        """Delete local copies that the store has, each asked for; one that it lacks is sent again first."""
        there, here = self._sizes(keys), self._here(keys)
        self._put([key for key, size in here.items() if there.get(key) != size])
        reach("upload.before-release")
        for key in here:
            unlink(self._camera / key)
        for folder in {(self._camera / key).parent for key in here}:
            fsync_directory(folder)
        reach("upload.after-release")
        tree = uploads.trees[name]
        return uploads.with_tree(name, replace(tree, away=tree.away + sum({**there, **here}.values())))

    def _drop(self, uploads: UploadState) -> UploadState | None:
        """Objects of generations that are gone here, once what is published needs them no more."""
        here = trees_here(self._camera)
        for name in uploads.trees:
            if name not in here and name != generation_name(uploads.published.generation):
                self._objects.delete(self._objects.sizes(name))
                return replace(
                    uploads,
                    trees={other: tree for other, tree in uploads.trees.items() if other != name},
                    again=tuple(item for item in uploads.again if item[0] != name),
                )
        return None

    def _publish(self, uploads: UploadState, manifest: Manifest) -> UploadState | None:
        """Say on the store what it holds, `committed` last. None where it says so already, or where it would say less than before."""
        names = (FRAMES, generation_name(manifest.generation))
        if not all(name in uploads.trees for name in names):
            return None
        frames = min(manifest.frames, *(uploads.trees[name].sent * SEAL_FRAMES for name in names))
        before = uploads.published
        if not frames or (manifest.generation != before.generation and frames < before.frames):
            return None
        document = published_manifest(self._camera, manifest, uploads, frames)
        crc = zlib.crc32(document)
        if crc == before.crc:
            return None
        known = before.frames if before.generation == manifest.generation else 0
        self._put(small_files(self._camera, manifest, known, frames))
        reach("upload.before-publish")
        self._objects.put("committed", document)
        self._published_at = time.monotonic()
        return replace(uploads, published=Published(frames, manifest.generation, crc))

    def _finish_remote(self, uploads: UploadState, manifest: Manifest) -> UploadState | None:
        """The oldest seal that was committed as coarse: send its coarse chunks, then delete the others that they stand in for."""
        name = generation_name(manifest.generation)
        unfinished = [
            (name, first // SEAL_FRAMES)
            for part in manifest.downsampled
            if not part.erased
            for first in range(part.first, part.end, SEAL_FRAMES)
        ]
        left = [item for item in unfinished if item not in uploads.thinned]
        if not left:
            return None
        _, seal = left[0]
        tree = uploads.trees[name]
        noted = tuple(item for item in uploads.thinned if item in unfinished)
        if seal > tree.sent:  # nothing of it is there; the seal after the last one may have been cut off half-way
            return replace(uploads, thinned=(*noted, *left))
        fine = fine_keys(self._camera, name, seal)
        downsampled = [key for key in self._keys(manifest, name, seal) if Path(key).parent.name in ARRAYS.values()]
        sent, released = seal < tree.sent, seal < tree.released
        here = self._here(downsampled) if sent else {}
        before = self._sizes([*sorted(fine), *downsampled])
        replace(uploads, unsettled=True).write(self._camera)
        self._put([*here, *downsampled_arrays(self._camera, name)])
        reach("upload.before-thinned")
        after = self._sizes(downsampled)
        gone = (
            fine if not sent or 0 < len(downsampled) == len(after) else set()
        )  # else coarse ones were lost: these stay
        self._objects.delete(gone)
        reach("upload.half-thinned")
        if sent:
            saved = sum(before.get(key, 0) for key in gone)
            new = sum(after.values()) - sum(before.get(key, 0) for key in downsampled)
            tree = replace(tree, bytes=tree.bytes + new - saved, away=tree.away - (saved if released else 0))
        done = replace(uploads.with_tree(name, tree), thinned=(*noted, left[0]))
        return self._let_go(done, name, list(here)) if released else done

    # --- files ---

    def _keys(self, manifest: Manifest, name: str, seal: int) -> list[str]:
        """The objects that a seal of a tree should have: of one that is coarse, not those of its other tokens."""
        keys = seal_keys(self._camera, name, seal)
        if name != generation_name(manifest.generation) or not is_downsampled(manifest.downsampled, seal * SEAL_FRAMES):
            return keys
        fine = fine_keys(self._camera, name, seal)
        return [key for key in keys if key not in fine]

    def _here(self, keys: Iterable[str]) -> dict[str, int]:
        """Those that lie in the directory, with their sizes."""
        found = {}
        for key in keys:
            try:
                found[key] = (self._camera / key).stat().st_size
            except FileNotFoundError:
                continue
        return found

    def _sizes(self, keys: Iterable[str]) -> dict[str, int]:
        """Those that lie on the store, with their sizes."""
        asked = list(keys)
        sizes: list[int | None] = self._objects.each(self._objects.size, asked)
        return {key: size for key, size in zip(asked, sizes, strict=True) if size is not None}

    def _put(self, keys: Iterable[str]) -> None:
        """Send files as they are; one that vanishes meanwhile was evicted."""

        def put(key: str) -> None:
            try:
                data = (self._camera / key).read_bytes()
            except FileNotFoundError:
                return
            self._objects.put(key, data)

        self._objects.each(put, keys)


def _sealed(camera: Path) -> dict[str, int]:
    """How many seals each tree has that may be sent; of a generation that is being built, those that are."""
    seals = Manifest.read(camera).frames // SEAL_FRAMES
    numbers = {generation_name(number): number for number in generations(camera)}
    building = {name: number for name, number in numbers.items() if is_building(camera, number)}
    return {
        name: frames_built(camera, building[name]) // SEAL_FRAMES if name in building else seals
        for name in trees_here(camera)
    }


def _beside(tree: str, seal: int) -> list[str]:
    """The small file that goes with a seal: where its images begin and end."""
    return [f"{IMAGES}/{seal}/zarr.json"] if tree == FRAMES else []
