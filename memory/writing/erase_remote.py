"""Erasing frames from the objects of a bucket, and proving it; around what `memory.writing.erase` does to the files.

Objects that hold only removed frames are deleted. A chunk that also holds other frames is fetched first if it is remote only, and its rows
are blanked here like any other's. Then its object is deleted, and the blanked chunk is noted to be sent again. Each step can be
repeated. (A bucket that keeps versions keeps what is deleted: this is reported, not undone.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from afterview.memory.base.durable import DISK_FULL, make_directory, write_file
from afterview.memory.base.errors import RepositoryError, StoreRefused, StoreUnreachable
from afterview.memory.base.failpoints import reach
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.generations import camera_arrays
from afterview.memory.format.image_packs import image_attributes
from afterview.memory.format.layout import IMAGES, StoredArray, checksum_holds
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.upload_state import FRAMES, PATIENCE_S, UploadState, upload_lock
from afterview.memory.plans.removal import Removal, covered_frames, cuts
from afterview.memory.remote.bucket import BucketClient, bucket_of
from afterview.memory.writing.erase import Erased, blank_rows, erase


@dataclass(frozen=True)
class Touched:
    """An object that may hold frames of a removal. whole: all its frames are removed. place: (tree, seal)."""

    key: str
    whole: bool
    place: tuple[str, int]
    array: StoredArray | None  # None: a pack of images
    chunk: int


def erase_everywhere(
    camera: Path, removal: Removal, removed: Sequence[Removal], *, sealed: int, patience_s: float | None = PATIENCE_S
) -> tuple[Erased, RepositoryError | None]:
    """Erase a removal's sealed frames from the files and from the bucket. The error says why the bucket may still have some.

    patience_s: how long to wait for other users of the bucket; None: leave the bucket for later.
    """
    bucket = bucket_of(camera)
    done = Erased()
    try:
        if bucket is None or not UploadState.read(camera).trees:
            return erase(camera, removal, removed, sealed=sealed), None
        if patience_s is None:
            raise StoreUnreachable(f"{bucket.name}: not contacted while the camera is opened")
        with upload_lock(camera, patience_s=patience_s):
            items = touched(camera, UploadState.read(camera), removal, removed, sealed=sealed)
            if cuts(removal, removed):
                fetch_shared(camera, bucket, items)
            done.include(erase(camera, removal, removed, sealed=sealed))
            done.include(erase_objects(camera, bucket, removal, items))
        return done, None
    except (RepositoryError, OSError) as error:
        if isinstance(error, OSError):
            if error.errno not in DISK_FULL:
                raise
            error = StoreRefused(f"{camera}: the disk is full, so the store's state cannot be noted")
        seals = range(removal.first // SEAL_FRAMES, -(-removal.end // SEAL_FRAMES))
        remote = frozenset(seal for seal in seals if not (camera / IMAGES / str(seal) / "c.0").exists())
        done.include(erase(camera, removal, removed, sealed=sealed, spare=remote))
        return done, error


def touched(
    camera: Path, state: UploadState, removal: Removal, removed: Sequence[Removal], *, sealed: int
) -> list[Touched]:
    """The chunk objects that may hold frames of a removal. (Sending of the seal after the last sent one may have been cut off.)"""
    end = min(removal.end, sealed)
    covered = covered_frames(removed, max(sealed, removal.end) + SEAL_FRAMES)
    found = []
    for array in camera_arrays(camera):
        tree = array.name.partition("/")[0]
        if array.chunk > SEAL_FRAMES or tree not in state.trees or end <= removal.first:
            continue
        for chunk in array.chunks(removal.first, min(end, (state.trees[tree].sent + 1) * SEAL_FRAMES)):
            low, high = chunk * array.chunk, (chunk + 1) * array.chunk
            key = str(array.file(camera, chunk).relative_to(camera))
            found.append(Touched(key, bool(covered[low:high].all()), (tree, low // SEAL_FRAMES), array, chunk))
    sent = state.trees[FRAMES].sent if FRAMES in state.trees else -1
    for seal in range(removal.first // SEAL_FRAMES, min(-(-end // SEAL_FRAMES), sent + 1)):
        whole = bool(covered[seal * SEAL_FRAMES : (seal + 1) * SEAL_FRAMES].all())
        found += [
            Touched(f"{IMAGES}/{seal}/{name}", whole, (FRAMES, seal), None, seal) for name in ("c.0", "zarr.json")
        ]
    return found


def fetch_shared(camera: Path, bucket: BucketClient, items: Sequence[Touched]) -> None:
    """Fetch chunks that must be blanked and are remote only."""
    keys = [item.key for item in items if not item.whole and not (camera / item.key).exists()]
    found: list[bytes | None] = bucket.each(bucket.read, keys)
    for key, data in zip(keys, found, strict=True):
        if data is not None:
            make_directory((camera / key).parent)
            write_file(camera / key, data)


def erase_objects(camera: Path, bucket: BucketClient, removal: Removal, items: Sequence[Touched]) -> Erased:
    """Delete every object that held frames of a removal, after the files were erased. If they were blanked, check that it is gone."""
    blanked = removal.reason == "forgotten" or not all(item.whole for item in items)
    keys = [item.key for item in items]
    sizes: list[int | None] = bucket.each(bucket.size, keys)
    held = [(item, size) for item, size in zip(items, sizes, strict=True) if size is not None]
    done = Erased()
    state = UploadState.read(camera).to_send_again({item.place for item, _ in held if not item.whole})
    replace(state, unsettled=True).write(camera)  # first: otherwise a blanked chunk could be missing from the bucket
    bucket.delete([item.key for item, _ in held])
    reach("upload.half-erased")
    for item, size in held:
        if item.key.endswith("zarr.json"):
            continue
        tree = state.trees[item.place[0]]
        remote_only = size if item.place[1] < tree.released else 0
        state = state.with_tree(
            item.place[0],
            replace(tree, bytes=max(0, tree.bytes - size), remote_only=max(0, tree.remote_only - remote_only)),
        )
        done.objects += 1
        done.freed += remote_only
    _replace_scalars(camera, bucket, removal, blanked=blanked)
    if blanked:
        left: list[int | None] = bucket.each(bucket.size, keys)
        if any(size is not None for size in left):
            raise StoreUnreachable(f"{bucket.name}: deleted objects are still listed; run the command again")
    state.write(camera)
    return done


def _replace_scalars(camera: Path, bucket: BucketClient, removal: Removal, *, blanked: bool) -> None:
    """Times are published, too: replace them by blanked ones, and delete chunks that no longer exist here."""
    arrays = [array for array in camera_arrays(camera) if array.chunk > SEAL_FRAMES]
    end = min(removal.end, Manifest.read(camera).frames)
    chunks = [(array, c) for array in arrays for c in array.chunks(removal.first, end) if end > removal.first]
    paths = [array.file(camera, chunk) for array, chunk in chunks]
    bucket.delete([str(path.relative_to(camera)) for path in paths if not path.exists()])
    if not blanked:
        return

    def put(path: Path) -> None:
        if path.is_file() and bucket.size(str(path.relative_to(camera))) is not None:
            bucket.put(str(path.relative_to(camera)), path.read_bytes())

    bucket.each(put, paths)


def object_traces(camera: Path, bucket: BucketClient, removal: Removal, items: Sequence[Touched]) -> list[str]:
    """Objects that still hold something of forgotten frames. Reads all: frames that were forgotten before sealing were sent blank."""

    def look(item: Touched) -> str | None:
        data = bucket.read(item.key)
        left = data is not None and _holds(camera, item, data, removal)
        return f"{camera / item.key}: rows of forgotten frames, on the store" if left else None

    return [trace for trace in bucket.each(look, items) if trace]


def _holds(camera: Path, item: Touched, data: bytes, removal: Removal) -> bool:
    """Whether an object has bytes of forgotten frames. An unreadable one counts if it should not exist at all."""
    if item.array is None:
        if (about := image_attributes(camera, item.chunk)) is None:
            return item.whole
        return item.key.endswith("c.0") and _holds_images(about["offsets"], item.chunk, data, removal)
    if len(data) != item.array.chunk_bytes or not checksum_holds(data):
        return item.whole
    return _holds_rows(item.array, item.chunk, data, removal)


def _holds_images(offsets: Sequence[int], seal: int, data: bytes, removal: Removal) -> bool:
    low, high = max(removal.first - seal * SEAL_FRAMES, 0), min(removal.end - seal * SEAL_FRAMES, SEAL_FRAMES)
    return any(data[offsets[low] : offsets[high]])


def _holds_rows(array: StoredArray, chunk: int, data: bytes, removal: Removal) -> bool:
    low, high = max(removal.first, chunk * array.chunk), min(removal.end, (chunk + 1) * array.chunk)
    all_rows = np.frombuffer(data[:-4], dtype=array.dtype).reshape(array.chunk, *array.row)
    rows = all_rows[low - chunk * array.chunk : high - chunk * array.chunk]
    blank = np.broadcast_to(np.asarray(blank_rows(array, removal, low, high), dtype=rows.dtype), rows.shape)
    return not np.array_equal(rows, blank, equal_nan=rows.dtype.kind == "f")
