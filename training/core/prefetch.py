"""Reads the next batch during a training step. Threads: one, the only caller of `batch_of`; a future passes its result."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Batch = TypeVar("Batch")


class Prefetcher(Generic[Batch]):
    """Batches by number, one of them read ahead. Numbers may come in any order; read-ahead helps if they advance by `stride`."""

    def __init__(self, batch_of: Callable[[int], Batch], *, stride: int = 1) -> None:
        """stride: number of processes that share the batches."""
        self._batch_of, self._stride = batch_of, stride
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._coming: tuple[int, Future[Batch]] | None = None

    def __call__(self, number: int) -> Batch:
        """Batch `number`. Raises what reading it raised."""
        coming, self._coming = self._coming, None
        mine = coming[1] if coming and coming[0] == number else self._reader.submit(self._batch_of, number)
        batch = mine.result()
        self._coming = number + self._stride, self._reader.submit(self._batch_of, number + self._stride)
        return batch

    def close(self) -> None:
        """Stop without waiting for the batch being read."""
        self._reader.shutdown(wait=False, cancel_futures=True)
