"""What people type, checked before anything slow or lasting happens. Pure; every error says what to write instead."""

import math
import unicodedata
from pathlib import Path

from afterview.configs import UsageError
from afterview.memory.base.camera import camera_id
from afterview.memory.remote.settings import SCHEME

FASTEST = 1000.0  # frames kept per second; no camera gives more
LONGEST_SYNC = 60.0  # seconds that a power cut may cost, at most
_LARGEST_SEED = 2**63 - 1  # what the generators of random numbers take


def memory_path(text: str) -> Path:
    """The memory's directory. An empty text is an unset variable in a script, not the present directory."""
    if not text.strip():
        raise UsageError("--memory is empty; name a directory")
    if text.startswith(SCHEME):
        raise UsageError(
            f"{text}: a memory on a store can be asked, searched and exported from here; everything else wants the directory that "
            "records it (`afterview store set` ties the two together)"
        )
    return Path(text)


def readable_memory(text: str) -> Path:
    """The directory of a memory that is only read: also of one that lies on a store, s3://bucket/prefix."""
    if not text.startswith(SCHEME):
        return memory_path(text)
    from afterview.memory.sync.replica import replica_of

    return replica_of(text)


def sampling_rate(fps: float) -> float:
    """Frames to keep per second."""
    if not 0 < fps <= FASTEST:
        raise UsageError(f"--fps {fps:g}: must be above 0, and at most {FASTEST:g}")
    return fps


def timeout(option: str, seconds: float) -> float:
    """A wait, seconds."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"{option} {seconds:g}: must be a positive number of seconds")
    return seconds


def sync_interval(seconds: float) -> float:
    """How long a frame may wait to be made durable, seconds."""
    if not 0 <= seconds <= LONGEST_SYNC:
        raise UsageError(f"--sync-every {seconds:g}: must be between 0 and {LONGEST_SYNC:g} seconds")
    return seconds


def seed(number: int) -> int:
    """A seed of random choices."""
    if not 0 <= number <= _LARGEST_SEED:
        raise UsageError(f"--seed {number}: must be between 0 and {_LARGEST_SEED}")
    return number


def camera_name(given: str | None, suggested: str) -> str:
    """The name to record under: the one given, else the source's, else (a source whose name has no letter of ours) 'camera'."""
    if given is None:
        return suggested if _has_id(suggested) else "camera"
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in given):
        raise UsageError(f"--camera {given!r}: control characters cannot be part of a name")
    camera_id(given)  # refuses a name that leaves none
    return given


def _has_id(name: str) -> bool:
    try:
        return bool(camera_id(name))
    except UsageError:
        return False
