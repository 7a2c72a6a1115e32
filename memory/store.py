"""A local Zarr store whose every write has reached the disk when it returns (LocalStore renames but never fsyncs)."""

import asyncio
from pathlib import Path

from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from memory.durable import fsync_directory, make_directory, remove_tree, unlink, write_file


class DurableStore(LocalStore):
    """Every way in which Zarr changes a store, made atomic and durable."""

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
