"""Reads the published files of features: one `.pt` per video, `{"vid_feat": [T, 64, 1152], "duration": seconds}`.

The published reader trains on min(T, int(duration)) rows of a file, evenly spaced, and states that number and the duration. A bank holds
those rows. Only tensors and numbers are loaded (`weights_only`): such a file could otherwise run code.
"""

import errno
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afterview.configs import ConfigError, kind_of, why_unreadable
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.plans.published_sampling import feature_rows
from afterview.training.base.errors import DataError

SUFFIX = ".pt"
# How pickle names a NumPy scalar, which a duration may be.
_SCALAR = np.float64(0).__reduce__()[0]
_SCALARS: list[Any] = [
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
]


def is_published(path: Path) -> bool:
    """Whether a source is such a file, by its name."""
    return path.suffix.lower() == SUFFIX


def read_published(path: Path, spec: FeatureSpec) -> tuple[Tensor, float, str]:
    """Rows float16 [n, P, Dv], the duration in seconds, and what is wrong with them, for people. Raises DataError."""
    found = _load(path)
    features, seconds = found.get("vid_feat"), _seconds(path, found.get("duration"))
    wanted = spec.tokens.tokens_per_frame, spec.tokens.width
    if not isinstance(features, Tensor) or features.ndim != 3 or not len(features) or features.shape[1:] != wanted:
        got = list(features.shape) if isinstance(features, Tensor) else kind_of(features)
        raise DataError(
            f"{path}: 'vid_feat' is {got}; '{spec.model}' takes [T, {wanted[0]}, {wanted[1]}]; give the --model whose tower made it"
        )
    try:
        rows = feature_rows(len(features), seconds)
    except ConfigError as error:
        raise DataError(f"{path}: {error}") from None
    taken = features[torch.from_numpy(rows)].to(torch.float16)
    if not taken.isfinite().all():
        raise DataError(f"{path}: 'vid_feat' holds values that are not finite in float16")
    short = len(features) < int(seconds)
    return taken, seconds, f"{len(features)} rows for {seconds:g} s" if short else ""


def _load(path: Path) -> dict[str, Any]:
    try:
        with torch.serialization.safe_globals(_SCALARS):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DataError(
            f"{path}: is damaged, or holds more than tensors and numbers, which could run code; save it again with "
            "vid_feat as a tensor and duration as a number"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        refused = isinstance(error, OSError) and error.errno != errno.EINVAL  # what torch says of a file that was cut
        why = why_unreadable(error) if refused else "truncated, or not such a file"
        raise DataError(f"{path}: cannot be read as a file of features ({why})") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds {kind_of(found)}; a file of features holds 'vid_feat' and 'duration'")
    return found


def _seconds(path: Path, value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError, RuntimeError):
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise DataError(f"{path}: 'duration' must be the seconds of the video (got {str(value)[:40]})")
    return seconds
