"""Cached features and cached frames: one safetensors file per video, so that training needs neither zarr nor faiss nor PyAV.

    DIR/spec.json                 whose features these are (memory.base.feature_spec.FeatureSpec)
    DIR/NAME.safetensors          "features" [T, P, Dv]; metadata: seconds, source

    DIR/frames.json               {"resolution": S}: a bank of frames, for stages that train the vision tower
    DIR/NAME.safetensors          "frames" uint8 [T, S, S, 3]; metadata: seconds, source

training.data.extraction writes these files.
"""

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from afterview.configs import why_unreadable
from afterview.memory.base.durable import replacing, write_file
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.training.base.errors import DataError

SPEC, FRAMES = "spec.json", "frames.json"
BankKind = Literal["features", "frames"]
_MAKE = "`afterview extract VIDEO --out DIR` makes a bank"  # `--frames` is added for one of frames


class FeatureBank:
    """Features by video name."""

    def __init__(self, directory: Path) -> None:
        """Raises DataError if there is no spec."""
        self.directory = directory
        try:
            self.spec = FeatureSpec.model_validate_json((directory / SPEC).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:  # pydantic's errors are ValueErrors
            reason = "damaged" if isinstance(error, ValidationError) else why_unreadable(error)
            raise DataError(f"{directory / SPEC}: no features can be read without it ({reason}); {_MAKE}") from None

    def require(self, spec: FeatureSpec) -> None:
        """Raise DataError unless the tower of `spec` made these tokens. Training does not use the index."""
        if any(difference.startswith("tokens.") for difference in self.spec.differences(spec)):
            raise DataError(
                f"{self.directory}: features of '{self.spec.model}' cannot train '{spec.model}': their vision towers differ"
            )

    def load(self, video: str) -> tuple[Tensor, float]:
        """Features [T, P, Dv] and the duration in seconds. Raises DataError if the video is missing or does not fit the spec."""
        tokens = self.spec.tokens
        return _load(self.directory, video, "features", (tokens.tokens_per_frame, tokens.width))


class FrameBank:
    """Frames by video name, in the tower's resolution."""

    def __init__(self, directory: Path) -> None:
        """Raises DataError if the directory is not a bank of frames."""
        self.directory = directory
        try:
            self.resolution = int(json.loads((directory / FRAMES).read_text(encoding="utf-8"))["resolution"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{directory / FRAMES}: no frames can be read without it ({why_unreadable(error)}); {_MAKE} --frames"
            ) from None

    def require(self, resolution: int) -> None:
        """Raise DataError unless the frames have the tower's resolution, in pixels."""
        if self.resolution != resolution:
            raise DataError(
                f"{self.directory}: frames of {self.resolution} pixels cannot train a tower that takes {resolution}"
            )

    def load(self, video: str) -> tuple[Tensor, float]:
        """Frames uint8 [T, S, S, 3] and the duration in seconds. Raises DataError if the video is missing."""
        return _load(self.directory, video, "frames", (self.resolution, self.resolution, 3))


def _load(directory: Path, video: str, kind: BankKind, shape: tuple[int, ...]) -> tuple[Tensor, float]:
    path = feature_path(directory, video)
    remedy = "delete it and run `afterview extract` again"
    try:
        with safe_open(path, framework="pt") as file:
            # A copy: the file is memory-mapped and would be read page by page during a step.
            found, seconds = file.get_tensor(kind).clone(), float((file.metadata() or {})["seconds"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        reason = why_unreadable(error) if isinstance(error, OSError) else "truncated, or not such a file"
        raise DataError(f"{path}: {kind} of '{video}' cannot be read ({reason}); {remedy}") from None
    right, dtype = "uint8" if kind == "frames" else "float16", str(found.dtype).removeprefix("torch.")
    if found.shape[1:] != shape or not len(found) or dtype != right:
        got, wanted = f"{dtype} {list(found.shape)}", f"{right} [T, {', '.join(map(str, shape))}]"
        raise DataError(f"{path}: {kind} of '{video}' are {got}; {wanted} is expected, T at least 1; {remedy}")
    ends = found.aminmax() if found.is_floating_point() else ()  # 20 times as fast as isfinite
    if not (math.isfinite(seconds) and seconds > 0 and all(math.isfinite(float(end)) for end in ends)):
        raise DataError(f"{path}: {kind} of '{video}', or their duration, hold values that are not finite; {remedy}")
    return found, seconds


def require_videos(directory: Path, videos: Iterable[str]) -> None:
    """Raise DataError unless the bank has a file for every video. Missing files then show up before an epoch, not during it."""
    there = {entry.name for entry in os.scandir(directory)}
    missing = sorted({video for video in videos if feature_path(directory, video).name not in there})
    if missing:
        more = f", nor {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(
            f"{directory}: does not have '{missing[0]}'{more}; `afterview extract VIDEO --out {directory}` adds it"
        )


def holds(directory: Path, video: str, kind: BankKind, *, source: str = "") -> bool:
    """Whether the bank has a readable file for a video.

    source: what the video is made of, as `save_features` was told. Raises DataError if the file is of another source or kind. (A bank of
    an earlier version does not know its sources.)
    """
    path = feature_path(directory, video)
    try:
        with safe_open(path, framework="pt") as file:
            kinds, known = list(file.keys()), (file.metadata() or {}).get("source", "")
    except (OSError, SafetensorError):  # missing, or truncated by a crash of version 0.1.0
        return False
    if kinds != [kind]:
        raise DataError(f"{path}: holds {' and '.join(kinds)}, not {kind}; give another directory")
    if source and known and known != source:
        raise DataError(
            f"{path}: was made of another '{Path(video).stem}'; rename this one, use another bank, or delete that file to replace it"
        )
    return True


def feature_path(directory: Path, video: str) -> Path:
    """Path of a video's file in the bank."""
    return directory / f"{Path(video).stem}.safetensors"


def save_features(
    directory: Path, video: str, features: Tensor, seconds: float, spec: FeatureSpec, *, source: str = ""
) -> None:
    """Add a video to a bank, creating the bank if necessary. source: what it is made of. Raises DataError for another tower."""
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / SPEC).exists():
        FeatureBank(directory).require(spec)
    else:
        write_file(directory / SPEC, json.dumps(spec.model_dump(mode="json"), indent=1).encode())
    _save(directory, video, {"features": features.contiguous()}, seconds, source)


def save_frames(directory: Path, video: str, frames: Tensor, seconds: float, *, source: str = "") -> None:
    """Add the frames of a video, uint8 [T, S, S, 3], to a bank, creating it if necessary. Raises DataError for another resolution."""
    directory.mkdir(parents=True, exist_ok=True)
    resolution = int(frames.shape[1])
    if (directory / FRAMES).exists():
        FrameBank(directory).require(resolution)
    else:
        write_file(directory / FRAMES, json.dumps({"resolution": resolution}).encode())
    _save(directory, video, {"frames": frames.contiguous()}, seconds, source)


def _save(directory: Path, video: str, tensors: dict[str, Tensor], seconds: float, source: str) -> None:
    with replacing(feature_path(directory, video)) as partial:
        save_file(tensors, partial, metadata={"seconds": repr(seconds), "source": source})
