"""Taking frames out of the objects of a store, and proving it; around what `memory.writing.erase` does to the files.

Chunks that hold nothing else are deleted. A chunk shared with frames that stay is fetched first where it lies on the store alone, so
that its rows are blanked here like any other's; then its object is deleted and the blanked chunk noted to be sent again. Each step can
be done again. (What a bucket that keeps versions has of deleted objects is not in this software's hands: it is said so.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from afterview.memory.base.durable import make_directory, write_file
from afterview.memory.base.errors import RepositoryError, StoreUnreachable
from afterview.memory.base.failpoints import reach
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.generations import camera_layouts
from afterview.memory.format.layout import IMAGES, ArrayLayout, checksum_holds
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed import image_attributes
from afterview.memory.format.upload_state import FRAMES, PATIENCE_S, UploadState, locked
from afterview.memory.plans.removal import Removal, covered_frames
from afterview.memory.remote.bucket import BucketClient, bucket_of
from afterview.memory.writing.erase import Erased, blank_rows, erase


@dataclass(frozen=True)
class Touched:
    """An object that holds frames of a removal. whole: all its frames are removed. place: (tree, seal)."""

    key: str
    whole: bool
    place: tuple[str, int]
    layout: ArrayLayout | None  # None: a pack of images
    chunk: int


def erase_everywhere(
    camera: Path, removal: Removal, removed: Sequence[Removal], *, sealed: int, patience_s: float | None = PATIENCE_S
) -> tuple[Erased, RepositoryError | None]:
    """Erase a removal's sealed frames from the files and from the store. The error: why the store may still have some of them.

    patience_s: for others who are busy with the store; None: leave it alone for now.
    """
    objects = bucket_of(camera)
    done = Erased()
    try:
        if objects is None or not UploadState.read(camera).trees:
            return erase(camera, removal, removed, sealed=sealed), None
        if patience_s is None:
            raise StoreUnreachable(f"{objects.name}: was not asked yet")
        with locked(camera, patience_s=patience_s):
            items = touched(camera, UploadState.read(camera), removal, removed, sealed=sealed)
            if removal.reason == "forgotten":
                fetch_shared(camera, objects, items)
            done.include(erase(camera, removal, removed, sealed=sealed))
            done.include(erase_objects(camera, objects, removal, items))
        return done, None
    except RepositoryError as error:
        seals = range(removal.first // SEAL_FRAMES, -(-removal.end // SEAL_FRAMES))
        far = frozenset(seal for seal in seals if not (camera / IMAGES / str(seal) / "c.0").exists())
        done.include(erase(camera, removal, removed, sealed=sealed, spare=far))
        return done, error


def touched(
    camera: Path, uploads: UploadState, removal: Removal, removed: Sequence[Removal], *, sealed: int
) -> list[Touched]:
    """The moving objects that may hold frames of a removal. (A seal that is not noted as sent may have been cut off half-way.)"""
    end = min(removal.end, sealed)
    covered = covered_frames(removed, max(sealed, removal.end) + SEAL_FRAMES)
    found = []
    for layout in camera_layouts(camera):
        tree = layout.name.partition("/")[0]
        if layout.chunk > SEAL_FRAMES or tree not in uploads.trees or end <= removal.first:
            continue
        for chunk in layout.chunks(removal.first, min(end, (uploads.trees[tree].sent + 1) * SEAL_FRAMES)):
            low, high = chunk * layout.chunk, (chunk + 1) * layout.chunk
            key = str(layout.file(camera, chunk).relative_to(camera))
            found.append(Touched(key, bool(covered[low:high].all()), (tree, low // SEAL_FRAMES), layout, chunk))
    sent = uploads.trees[FRAMES].sent if FRAMES in uploads.trees else -1
    for seal in range(removal.first // SEAL_FRAMES, min(-(-end // SEAL_FRAMES), sent + 1)):
        whole = bool(covered[seal * SEAL_FRAMES : (seal + 1) * SEAL_FRAMES].all())
        found += [
            Touched(f"{IMAGES}/{seal}/{name}", whole, (FRAMES, seal), None, seal) for name in ("c.0", "zarr.json")
        ]
    return found


def fetch_shared(camera: Path, objects: BucketClient, items: Sequence[Touched]) -> None:
    """Bring chunks here that are to be blanked and lie on the store alone."""
    keys = [item.key for item in items if not item.whole and not (camera / item.key).exists()]
    found: list[bytes | None] = objects.each(objects.read, keys)
    for key, data in zip(keys, found, strict=True):
        if data is not None:
            make_directory((camera / key).parent)
            write_file(camera / key, data)


def erase_objects(camera: Path, objects: BucketClient, removal: Removal, items: Sequence[Touched]) -> Erased:
    """Delete every object that held frames of a removal, after its files were erased; and check that they are gone."""
    forgotten = removal.reason == "forgotten"
    items = [item for item in items if item.whole or forgotten]
    keys = [item.key for item in items]
    sizes: list[int | None] = objects.each(objects.size, keys)
    held = [(item, size) for item, size in zip(items, sizes, strict=True) if size is not None]
    done = Erased()
    uploads = UploadState.read(camera).to_send_again({item.place for item, _ in held if not item.whole})
    replace(uploads, unsettled=True).write(camera)  # first: a blanked chunk must not be missing from the store for ever
    objects.delete([item.key for item, _ in held])
    reach("upload.half-erased")
    for item, size in held:
        if item.key.endswith("zarr.json"):
            continue
        tree = uploads.trees[item.place[0]]
        away = size if item.place[1] < tree.released else 0
        uploads = uploads.with_tree(
            item.place[0], replace(tree, bytes=max(0, tree.bytes - size), away=max(0, tree.away - away))
        )
        done.objects += 1
        done.freed += away
    _replace_scalars(camera, objects, removal)
    if forgotten:
        left: list[int | None] = objects.each(objects.size, keys)
        if any(size is not None for size in left):
            raise StoreUnreachable(f"{objects.name}: still shows objects that were deleted; run it again")
    uploads.write(camera)
    return done


def _replace_scalars(camera: Path, objects: BucketClient, removal: Removal) -> None:
    """Times are published, too: put the blanked ones over them, and delete those of chunks that are gone here."""
    layouts = [layout for layout in camera_layouts(camera) if layout.chunk > SEAL_FRAMES]
    end = min(removal.end, Manifest.read(camera).frames)
    chunks = [(layout, c) for layout in layouts for c in layout.chunks(removal.first, end) if end > removal.first]
    paths = [layout.file(camera, chunk) for layout, chunk in chunks]
    objects.delete([str(path.relative_to(camera)) for path in paths if not path.exists()])
    if removal.reason != "forgotten":
        return

    def put(path: Path) -> None:
        if path.is_file() and objects.size(str(path.relative_to(camera))) is not None:
            objects.put(str(path.relative_to(camera)), path.read_bytes())

    objects.each(put, paths)


def object_traces(camera: Path, objects: BucketClient, removal: Removal, items: Sequence[Touched]) -> list[str]:
    """Objects that still hold something of forgotten frames. Reads every one: what was forgotten before it was sealed was sent blank."""

    def look(item: Touched) -> str | None:
        data = objects.read(item.key)
        left = data is not None and _holds(camera, item, data, removal)
        return f"{camera / item.key}: rows of forgotten frames, on the store" if left else None

    return [trace for trace in objects.each(look, items) if trace]


def _holds(camera: Path, item: Touched, data: bytes, removal: Removal) -> bool:
    """Whether an object has bytes of forgotten frames. One that cannot be read holds them if it should not be there at all."""
    if item.layout is None:
        if (about := image_attributes(camera, item.chunk)) is None:
            return item.whole
        return item.key.endswith("c.0") and _holds_images(about["offsets"], item.chunk, data, removal)
    if len(data) != item.layout.chunk_bytes or not checksum_holds(data):
        return item.whole
    return _holds_rows(item.layout, item.chunk, data, removal)


def _holds_images(offsets: Sequence[int], seal: int, data: bytes, removal: Removal) -> bool:
    low, high = max(removal.first - seal * SEAL_FRAMES, 0), min(removal.end - seal * SEAL_FRAMES, SEAL_FRAMES)
    return any(data[offsets[low] : offsets[high]])


def _holds_rows(layout: ArrayLayout, chunk: int, data: bytes, removal: Removal) -> bool:
    low, high = max(removal.first, chunk * layout.chunk), min(removal.end, (chunk + 1) * layout.chunk)
    all_rows = np.frombuffer(data[:-4], dtype=layout.dtype).reshape(layout.chunk, *layout.row)
    rows = all_rows[low - chunk * layout.chunk : high - chunk * layout.chunk]
    blank = np.broadcast_to(np.asarray(blank_rows(layout, removal, low, high), dtype=rows.dtype), rows.shape)
    return not np.array_equal(rows, blank, equal_nan=rows.dtype.kind == "f")
