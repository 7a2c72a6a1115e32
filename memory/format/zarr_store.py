"""The Zarr store of one camera: its directory first, then, for sealed chunks that were moved away, the objects of its bucket.

Every write goes to the directory and has reached the disk when it returns (LocalStore renames but never fsyncs). Any number of threads
may read through one store: a read-ahead belongs to the call that began it, and no other thread sees it.
"""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import LocalStore

from afterview.memory.base.durable import fsync_directory, make_directory, remove_tree, unlink, write_file
from afterview.memory.base.errors import DamagedMemory, StoreRefused, Unreadable
from afterview.memory.format.layout import may_be_remote
from afterview.memory.remote.bucket import AT_ONCE, BucketClient, bucket_of, pool

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import BufferPrototype

# Zarr reads in a thread of its own, so a thread-local would be lost on the way; asyncio hands a caller's context on to its tasks.
_AHEAD: ContextVar["_ReadAhead | None"] = ContextVar("_AHEAD", default=None)


class CameraStore(LocalStore):
    """Every way in which Zarr changes a store, made atomic and durable; every way in which it reads a chunk, wherever it lies."""

    # --- reading: StoreError where a chunk lies in a bucket that does not answer ---

    async def get(
        self, key: str, prototype: "BufferPrototype | None" = None, byte_range: "ByteRequest | None" = None
    ) -> Buffer | None:
        """The content of `key`, or None."""
        found = await super().get(key, prototype, byte_range)
        if found is None and may_be_remote(key) and byte_range is None:
            data = await asyncio.get_running_loop().run_in_executor(pool(), self._remote, key, _AHEAD.get())
            return None if data is None else (prototype or default_buffer_prototype()).buffer.from_bytes(data)
        return found

    def get_sync(
        self, key: str, *, prototype: "BufferPrototype | None" = None, byte_range: "ByteRequest | None" = None
    ) -> Buffer | None:
        """The content of `key`, or None."""
        found = super().get_sync(key, prototype=prototype, byte_range=byte_range)
        if found is None and may_be_remote(key) and byte_range is None:
            data = self._remote(key, _AHEAD.get())
            return None if data is None else (prototype or default_buffer_prototype()).buffer.from_bytes(data)
        return found

    def _remote(self, key: str, ahead: "_ReadAhead | None") -> bytes | None:
        if ahead is not None:
            return ahead.take(key)
        bucket = _bucket_of(self.root)
        return None if bucket is None else bucket.get(key)

    @contextmanager
    def reading_ahead(self, keys: Sequence[str]) -> Iterator[None]:
        """While the caller reads these chunks one after the other, request those that are not here together."""
        bucket = _bucket_of(self.root) if len(keys) > 1 else None
        if bucket is None:
            yield
            return
        ahead = _ReadAhead(bucket, [key for key in keys if not (self.root / key).exists()])
        token = _AHEAD.set(ahead)
        try:
            yield
        finally:
            _AHEAD.reset(token)
            ahead.stop()

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
    """The bucket of a camera. Raises StoreRefused where `store.json` cannot be used: no frame is lost, but some are out of reach."""
    try:
        return bucket_of(camera)
    except (DamagedMemory, Unreadable) as error:
        raise StoreRefused(str(error)) from None


class _ReadAhead:
    """Requests in flight for chunks that are about to be read: AT_ONCE of them, in the order in which they will be wanted."""

    def __init__(self, bucket: BucketClient, keys: Sequence[str]) -> None:
        self._bucket, self._left, self._lock = bucket, iter(keys), threading.Lock()
        self._requested: dict[str, Future[bytes | None]] = {}
        with self._lock:
            for _ in range(AT_ONCE):
                self._request()

    def _request(self) -> None:
        key = next(self._left, None)
        if key is not None:
            self._requested[key] = pool().submit(self._bucket.get, key)

    def take(self, key: str) -> bytes | None:
        """The content of a chunk. Its own request was queued before this waits for it, so a full pool cannot deadlock."""
        with self._lock:
            future = self._requested.pop(key, None)
            self._request()
        return self._bucket.get(key) if future is None else future.result()

    def stop(self) -> None:
        """Cancel the requests whose chunks nobody took."""
        with self._lock:
            self._left = iter(())
            for future in self._requested.values():
                future.cancel()
