"""A session of Ray (extra `marathon`): started here, or the cluster that RAY_ADDRESS names. Importing this module loads Ray.

Who needs Ray imports it from here, so that a missing one is named with its remedy.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from afterview.configs import missing_extra
from afterview.training.base.errors import TrainingError

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves this machine that was not configured
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
try:
    import ray
    import ray.data
except ImportError:
    raise missing_extra("marathon", "--ray") from None

_STORE_BYTES: Final = 200_000_000  # of Ray's object store on this machine; where only names and numbers go through it
_TRIES: Final = 3
_BLOCKS: Final = 16  # of rows, for each worker: a thousand small ones would cost Ray more than the work


@contextmanager
def session(workers: int, *, store_bytes: int = _STORE_BYTES) -> Iterator[None]:
    """Ray for the length of some work. One that is running is used and stays; otherwise one is started here and ended."""
    own = not ray.is_initialized()
    if own:
        _begin(workers, store_bytes)
    try:
        yield
    finally:
        if own:
            ray.shutdown()


def blocks(rows: int, workers: int) -> int:
    """Into how many blocks to divide so many rows."""
    return max(1, min(rows, _BLOCKS * workers))


def _begin(workers: int, store_bytes: int) -> None:
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # progress and errors are shown by us
    kept = {name: os.environ[name] for name in ("PYTHONPATH", "OMP_NUM_THREADS") if name in os.environ}
    if os.environ.get("RAY_ADDRESS"):
        _start(log_to_driver=False, runtime_env={"env_vars": kept})
    else:
        _start(
            num_cpus=max(1, workers), object_store_memory=store_bytes, include_dashboard=False, log_to_driver=False,
            configure_logging=False, runtime_env={"env_vars": kept},
        )  # fmt: skip


def _start(**given: Any) -> None:
    """Ray gives its processes 30 s to start, which a busy machine exceeds. Raises TrainingError."""
    for left in reversed(range(_TRIES)):
        try:
            ray.init(**given)
        except Exception as error:  # Ray has no kind of its own for it
            ray.shutdown()
            if left and "timed out during startup" in str(error):
                continue
            said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise TrainingError(
                f"Ray does not start: {said}; run the same command again when the machine is less busy, or check RAY_ADDRESS"
            ) from None
        return
