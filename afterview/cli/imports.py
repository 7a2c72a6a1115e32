"""Imports without garbage collection, and without the collector walking over what they made ever after.

Importing torch and transformers makes more than a million objects that live until the process ends. Collections during the import and at
exit walk over all of them and free nothing: a third of the time of an `ask` (`python -m tests.bench startup`).
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection(*, freeze: bool = False) -> Iterator[None]:
    """Switch the collector off for some imports. freeze: keep what exists at their end out of all later collections, that at exit included.

    Freezing is for a process of our own, never for one that only uses this package: garbage in cycles that exists by then stays.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
        if freeze:
            gc.freeze()
    finally:
        if collects:
            gc.enable()
