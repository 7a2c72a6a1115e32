"""The Zarr store of one camera: its directory first, then, for sealed chunks that were moved away, the objects of its memory's store.

Every write goes to the directory and has reached the disk when it returns (LocalStore renames but never fsyncs).
"""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import LocalStore

from afterview.memory.base.durable import fsync_directory, make_directory, remove_tree, unlink, write_file
from afterview.memory.base.errors import DamagedMemory, StoreRefused
from afterview.memory.format.layout import may_be_far
from afterview.memory.remote.bucket import AT_ONCE, BucketClient, bucket_of, pool

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import BufferPrototype


class CameraStore(LocalStore):
    """Every way in which Zarr changes a store, made atomic and durable; every way in which it reads a chunk, wherever it lies."""

    _ahead: "_ReadAhead | None" = None

    # --- reading: StoreError where a chunk lies on a store that does not answer ---

    async def get(
        self, key: str, prototype: "BufferPrototype | None" = None, byte_range: "ByteRequest | None" = None
    ) -> Buffer | None:
        """The content of `key`, or None."""
        found = await super().get(key, prototype, byte_range)
        if found is None and may_be_far(key) and byte_range is None:
            data = await asyncio.get_running_loop().run_in_executor(pool(), self._far, key)
            return None if data is None else (prototype or default_buffer_prototype()).buffer.from_bytes(data)
        return found

    def get_sync(
        self, key: str, *, prototype: "BufferPrototype | None" = None, byte_range: "ByteRequest | None" = None
    ) -> Buffer | None:
        """The content of `key`, or None."""
        found = super().get_sync(key, prototype=prototype, byte_range=byte_range)
        if found is None and may_be_far(key) and byte_range is None:
            data = self._far(key)
            return None if data is None else (prototype or default_buffer_prototype()).buffer.from_bytes(data)
        return found

    def _far(self, key: str) -> bytes | None:
        if self._ahead is not None:
            return self._ahead.take(key)
        objects = _bucket_of(self.root)
        return None if objects is None else objects.get(key)

    @contextmanager
    def reading_ahead(self, keys: Sequence[str]) -> Iterator[None]:
        """While these chunks are read one after the other, have those that lie far away come in together."""
        objects = _bucket_of(self.root) if len(keys) > 1 else None
        if objects is None:
            yield
            return
        self._ahead = _ReadAhead(objects, [key for key in keys if not (self.root / key).exists()])
        try:
            yield
        finally:
            self._ahead.stop()
            self._ahead = None

    # --- writing ---

    async def _set(self, key: str, value: Buffer, exclusive: bool = False) -> None:
        await asyncio.to_thread(self._put, key, value, exclusive)

    def set_sync(self, key: str, value: Buffer) -> None:
        """Write `value` at `key`."""
        self._put(key, value)

    def _put(self, key: str, value: Buffer, exclusive: bool = False) -> None:
        self._check_writable()
        path = self.root / key
        if exclusive and path.exists():
            raise FileExistsError(path)
        make_directory(path.parent)
        write_file(path, value.to_bytes())

    async def delete(self, key: str) -> None:
        """Remove one key."""
        await asyncio.to_thread(self.delete_sync, key)

    def delete_sync(self, key: str) -> None:
        """Remove one key."""
        self._check_writable()
        path = Path(self.root / key)
        if unlink(path):
            fsync_directory(path.parent)
        else:
            remove_tree(path)

    async def delete_dir(self, prefix: str) -> None:
        """Remove everything under `prefix`."""
        self._check_writable()
        await asyncio.to_thread(remove_tree, self.root / prefix)


def _bucket_of(camera: Path) -> BucketClient | None:
    """The store of a camera. Raises StoreRefused where its name is damaged: that harms no frame, but puts some out of reach."""
    try:
        return bucket_of(camera)
    except DamagedMemory as error:
        raise StoreRefused(str(error)) from None


class _ReadAhead:
    """Requests under way for chunks that are about to be read: AT_ONCE of them, in the order in which they will be wanted."""

    def __init__(self, objects: BucketClient, keys: Sequence[str]) -> None:
        self._objects, self._left, self._lock = objects, iter(keys), threading.Lock()
        self._coming: dict[str, Future[bytes | None]] = {}
        with self._lock:
            for _ in range(AT_ONCE):
                self._request()

    def _request(self) -> None:
        key = next(self._left, None)
        if key is not None:
            self._coming[key] = pool().submit(self._objects.get, key)

    def take(self, key: str) -> bytes | None:
        """The content of a chunk. Its own request was queued before this waits for it, so that full pools cannot lock up."""
        with self._lock:
            future = self._coming.pop(key, None)
            self._request()
        return self._objects.get(key) if future is None else future.result()

    def stop(self) -> None:
        """What was not taken is not wanted any more."""
        with self._lock:
            self._left = iter(())
            for future in self._coming.values():
                future.cancel()
