"""Moving the sealed frames of one camera to its bucket, one step at a time: send, release, send again, drop, publish.

Seals are sent in order, after they were committed here. A seal is noted as sent once the store has confirmed every object. Its local copies
are deleted only after the store was asked for the size of each object. Every step can be interrupted anywhere and repeated. The newest
chunks also stay local, up to `local_gigabytes`. Synchronous: the caller of `step` waits for the network; the camera's writer never does.

Publishing puts the small files beside the chunks (`camera.json`, specs, times, `committed` last), so that another machine can read the
memory from the bucket alone, or restore it if this machine is lost.
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
from afterview.memory.base.held_directory import holder
from afterview.memory.base.moved import require_in_place
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
    local_trees,
    seal_keys,
    upload_lock,
)
from afterview.memory.plans.downsampling import ARRAYS, is_downsampled
from afterview.memory.remote.bucket import BucketClient
from afterview.memory.sync.downsample_remote import RemoteDownsampling
from afterview.memory.sync.publish import (
    downsampled_metadata,
    is_no_camera,
    published_manifest,
    same_camera,
    small_files,
)
from afterview.memory.sync.reconcile import reconcile

PUBLISH_EVERY_S = 300.0  # while there is something to send; the small files cost as many requests as two seals
LEAST_FREE = 1e9  # bytes; with less free disk space, no sent chunk stays local


class Upload:
    """The steps of one camera. Any number of objects may exist, in any process: a lock makes steps exclusive."""

    def __init__(self, camera: Path, bucket: BucketClient, *, local_bytes: float) -> None:
        """local_bytes: of sent chunks that stay local."""
        self._held = holder(camera)
        self._camera, self._bucket, self._local_bytes = camera, bucket, local_bytes
        self._verified = False
        self._published_at = -PUBLISH_EVERY_S  # monotonic
        self._downsampling = RemoteDownsampling(camera)

    def step(self, *, finish: bool = False, only_downsampling: bool = False) -> bool:
        """Take the next step; False: nothing is left to do. finish: publish without waiting for more.

        Raises CameraMoved (of a held path, before anything is done), StoreError, OSError.
        only_downsampling: take only the steps that downsampling needs.
        """
        require_in_place(self._camera)
        with upload_lock(self._camera):
            state = self._current()
            try:
                state = state if self._verified else self._verify_owner(state)
                manifest = Manifest.read(self._camera)
                if state.unsettled:
                    done: UploadState | None = reconcile(self._camera, self._bucket, state)
                elif only_downsampling:
                    done = self._downsample_next(state, manifest)
                else:
                    done = self._step(state, manifest, finish=finish)
            except StoreError:
                self._verified = False  # it may be another store when it answers again, for example an empty one
                raise
            if done is None:
                return False
            replace(done, keeps_versions=done.keeps_versions or self._bucket.keeps_versions).write(self._camera)
            return True

    def _step(self, state: UploadState, manifest: Manifest, *, finish: bool) -> UploadState | None:
        for name, identity in local_trees(self._camera).items():
            if state.trees[name].identity != identity:
                return self._restart_tree(state, name, identity)
        due = time.monotonic() - self._published_at >= PUBLISH_EVERY_S
        if due and (published := self._publish(state, manifest)):
            return published
        if state.resend:
            return self._send_again(state, manifest)
        if self._crowded(state) and (released := self._release(state, manifest)):
            return released
        if sent := self._send(state, manifest):
            return sent
        if finish and (published := self._publish(state, manifest)):
            return published
        return self._downsample_next(state, manifest) or self._drop(state)

    def _downsample_next(self, state: UploadState, manifest: Manifest) -> UploadState | None:
        if downsampled := self._finish_remote(state, manifest):
            return downsampled
        return state if self._downsampling.step(state, manifest) else None

    def waiting(self) -> tuple[int, int]:
        """(seals, bytes) that are sealed and not in the bucket yet, images and features together."""
        state = self._current()
        items = {
            (name, seal)
            for name, seals in _seals_to_send(self._camera).items()
            for seal in range(state.trees[name].sent, seals)
        }
        items |= set(state.resend)
        sizes = [self._local_sizes(seal_keys(self._camera, tree, seal)) for tree, seal in sorted(items)]
        seals = {seal for (_, seal), found in zip(sorted(items), sizes, strict=True) if found}
        return len(seals), sum(sum(found.values()) for found in sizes)

    # --- the steps: each returns the state after it, or None if there was nothing to do ---

    def _current(self) -> UploadState:
        """The state on disk, with an entry for every local tree."""
        state = UploadState.read(self._camera)
        for name, identity in local_trees(self._camera).items():
            tree = state.trees.get(name)
            if tree is None:
                state = state.with_tree(name, Tree(identity))
        return state

    def _verify_owner(self, state: UploadState) -> UploadState:
        """Make sure that the objects are this camera's. An empty store is sent what is still local."""
        own = (self._camera / "camera.json").read_bytes()
        theirs = self._bucket.read("camera.json")
        if theirs is None:
            self._bucket.put("camera.json", own)
            trees = {
                name: replace(tree, sent=tree.released, bytes=0, remote_only=0) for name, tree in state.trees.items()
            }
            state = replace(state, trees=trees, resend=(), published=Published())
        elif is_no_camera(theirs) and any(tree.sent for tree in state.trees.values()):
            self._bucket.put("camera.json", own)  # damaged there: these are this camera's objects
        elif not same_camera(own, theirs):
            raise StoreRefused(
                f"{self._bucket.name}: holds the frames of another memory's camera; choose another prefix"
            )
        state = replace(state, silent_since=None, why="")
        state.write(self._camera)  # before anything is sent: erasing must know that objects may exist
        self._verified = True
        return state

    def _restart_tree(self, state: UploadState, name: str, identity: int) -> UploadState:
        """Start a tree again: its generation was dropped, and another one got the same number."""
        self._bucket.delete(self._bucket.sizes(name))
        resend = tuple(item for item in state.resend if item[0] != name)
        return replace(state.with_tree(name, Tree(identity)), resend=resend)

    def _send(self, state: UploadState, manifest: Manifest) -> UploadState | None:
        """Send the oldest seal that is not sent yet, of any tree. Seals without local files are skipped."""
        sealed = _seals_to_send(self._camera)
        for name in sorted(sealed, key=lambda name: state.trees[name].sent):
            tree = state.trees[name]
            sent = tree.sent
            found: dict[str, int] = {}
            while sent < sealed[name] and not (found := self._local_sizes(self._keys(manifest, name, sent))):
                sent += 1
            if found:
                self._put([*found, *_image_offsets(name, sent)])
                reach("upload.after-put")
                size = sum(found.values())
                return state.with_tree(name, replace(tree, sent=sent + 1, bytes=tree.bytes + size))
            if sent > tree.sent:
                return state.with_tree(name, replace(tree, sent=sent))
        return None

    def _send_again(self, state: UploadState, manifest: Manifest) -> UploadState:
        """Send a seal that was changed after it had been sent. If it was released before, release it again."""
        name, seal = state.resend[0]
        left = replace(state, resend=state.resend[1:])
        tree = state.trees[name]
        found = self._local_sizes(self._keys(manifest, name, seal)) if name in local_trees(self._camera) else {}
        if not found:
            return left
        before: list[int | None] = self._bucket.each(self._bucket.size, found)
        replace(state, unsettled=True).write(self._camera)
        self._put([*found, *_image_offsets(name, seal)])
        new = sum(found.values()) - sum(size or 0 for size in before)
        left = left.with_tree(name, replace(tree, bytes=tree.bytes + new))
        return self._delete_local(left, name, list(found)) if seal < tree.released else left

    def _crowded(self, state: UploadState) -> bool:
        local = state.bytes - state.remote_only
        return local > self._local_bytes or (local > 0 and shutil.disk_usage(self._camera).free < LEAST_FREE)

    def _release(self, state: UploadState, manifest: Manifest) -> UploadState | None:
        """Delete the local copies of the oldest seal that has any."""
        held = {name: tree for name, tree in state.trees.items() if tree.released < tree.sent}
        if not held:
            return None
        name = min(held, key=lambda name: held[name].released)
        tree = held[name]
        replace(state, unsettled=True).write(self._camera)
        keys = self._keys(manifest, name, tree.released)
        return self._delete_local(state.with_tree(name, replace(tree, released=tree.released + 1)), name, keys)

    def _delete_local(self, state: UploadState, name: str, keys: list[str]) -> UploadState:
        """Delete local copies after asking the store for each object. A missing object is sent again first."""
        remote, local = self._remote_sizes(keys), self._local_sizes(keys)
        self._put([key for key, size in local.items() if remote.get(key) != size])
        reach("upload.before-release")
        for key in local:
            unlink(self._camera / key)
        for folder in {(self._camera / key).parent for key in local}:
            fsync_directory(folder)
        reach("upload.after-release")
        tree = state.trees[name]
        return state.with_tree(name, replace(tree, remote_only=tree.remote_only + sum({**remote, **local}.values())))

    def _drop(self, state: UploadState) -> UploadState | None:
        """Delete the objects of generations that no longer exist here, once the published state does not need them."""
        local = local_trees(self._camera)
        for name in state.trees:
            if name not in local and name != generation_name(state.published.generation):
                self._bucket.delete(self._bucket.sizes(name))
                return replace(
                    state,
                    trees={other: tree for other, tree in state.trees.items() if other != name},
                    resend=tuple(item for item in state.resend if item[0] != name),
                )
        return None

    def _publish(self, state: UploadState, manifest: Manifest) -> UploadState | None:
        """Publish what the bucket holds, `committed` last. None if it is published already, or if it would be less than before."""
        names = (FRAMES, generation_name(manifest.generation))
        if not all(name in state.trees for name in names):
            return None
        frames = min(manifest.frames, *(state.trees[name].sent * SEAL_FRAMES for name in names))
        before = state.published
        if not frames or (manifest.generation != before.generation and frames < before.frames):
            return None
        document = published_manifest(self._camera, manifest, state, frames)
        crc = zlib.crc32(document)
        if crc == before.crc:
            return None
        known = before.frames if before.generation == manifest.generation else 0
        self._put(small_files(self._camera, manifest, known, frames))
        reach("upload.before-publish")
        self._bucket.put("committed", document)
        self._published_at = time.monotonic()
        return replace(state, published=Published(frames, manifest.generation, crc))

    def _finish_remote(self, state: UploadState, manifest: Manifest) -> UploadState | None:
        """Send the downsampled chunks of the oldest seal that was committed as downsampled, then delete its full chunks there."""
        name = generation_name(manifest.generation)
        unfinished = [
            (name, first // SEAL_FRAMES)
            for part in manifest.downsampled
            if not part.erased
            for first in range(part.first, part.end, SEAL_FRAMES)
        ]
        left = [item for item in unfinished if item not in state.downsampled]
        if not left:
            return None
        _, seal = left[0]
        tree = state.trees[name]
        noted = tuple(item for item in state.downsampled if item in unfinished)
        if seal > tree.sent:  # none of it was sent; sending the seal after the last sent one may have been cut off
            return replace(state, downsampled=(*noted, *left))
        fine = fine_keys(self._camera, name, seal)
        downsampled = [key for key in self._keys(manifest, name, seal) if Path(key).parent.name in ARRAYS.values()]
        sent, released = seal < tree.sent, seal < tree.released
        local = self._local_sizes(downsampled) if sent else {}
        before = self._remote_sizes([*sorted(fine), *downsampled])
        replace(state, unsettled=True).write(self._camera)
        self._put([*local, *downsampled_metadata(self._camera, name)])
        reach("upload.before-thinned")
        after = self._remote_sizes(downsampled)
        gone = (
            fine if not sent or 0 < len(downsampled) == len(after) else set()
        )  # otherwise downsampled chunks were lost: keep the full ones
        self._bucket.delete(gone)
        reach("upload.half-thinned")
        if sent:
            saved = sum(before.get(key, 0) for key in gone)
            new = sum(after.values()) - sum(before.get(key, 0) for key in downsampled)
            tree = replace(
                tree, bytes=tree.bytes + new - saved, remote_only=tree.remote_only - (saved if released else 0)
            )
        done = replace(state.with_tree(name, tree), downsampled=(*noted, left[0]))
        return self._delete_local(done, name, list(local)) if released else done

    # --- files ---

    def _keys(self, manifest: Manifest, name: str, seal: int) -> list[str]:
        """Keys of the objects that a seal of a tree should have: a downsampled one has no full tokens."""
        keys = seal_keys(self._camera, name, seal)
        if name != generation_name(manifest.generation) or not is_downsampled(manifest.downsampled, seal * SEAL_FRAMES):
            return keys
        fine = fine_keys(self._camera, name, seal)
        return [key for key in keys if key not in fine]

    def _local_sizes(self, keys: Iterable[str]) -> dict[str, int]:
        """Sizes of the keys that exist in the directory."""
        found = {}
        for key in keys:
            try:
                found[key] = (self._camera / key).stat().st_size
            except FileNotFoundError:
                continue
        return found

    def _remote_sizes(self, keys: Iterable[str]) -> dict[str, int]:
        """Sizes of the keys that exist in the bucket."""
        asked = list(keys)
        sizes: list[int | None] = self._bucket.each(self._bucket.size, asked)
        return {key: size for key, size in zip(asked, sizes, strict=True) if size is not None}

    def _put(self, keys: Iterable[str]) -> None:
        """Send files as they are; one that disappears meanwhile was evicted."""

        def put(key: str) -> None:
            try:
                data = (self._camera / key).read_bytes()
            except FileNotFoundError:
                return
            self._bucket.put(key, data)

        self._bucket.each(put, keys)


def _seals_to_send(camera: Path) -> dict[str, int]:
    """Number of seals of each tree that may be sent. Of a generation that is being built: those that are built."""
    seals = Manifest.read(camera).frames // SEAL_FRAMES
    numbers = {generation_name(number): number for number in generations(camera)}
    building = {name: number for name, number in numbers.items() if is_building(camera, number)}
    return {
        name: frames_built(camera, building[name]) // SEAL_FRAMES if name in building else seals
        for name in local_trees(camera)
    }


def _image_offsets(tree: str, seal: int) -> list[str]:
    """Key of the small file with the offsets of a seal's images."""
    return [f"{IMAGES}/{seal}/zarr.json"] if tree == FRAMES else []
