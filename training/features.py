"""Cached features and cached frames: one safetensors file per video, so that the trainer's core needs neither zarr nor faiss nor PyAV.

    DIR/spec.json                 whose features these are (memory.spec.FeatureSpec)
    DIR/NAME.safetensors          "features" [T, P, Dv]; metadata: seconds

    DIR/frames.json               {"resolution": S}: a bank of frames, for stages that train the vision tower
    DIR/NAME.safetensors          "frames" uint8 [T, S, S, 3]; metadata: seconds

Written by training.extract, which takes videos in as every video is taken in.
"""

import json
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from memory.spec import FeatureSpec
from training.errors import DataError

SPEC, FRAMES = "spec.json", "frames.json"


class FeatureBank:
    """Features by the video's name."""

    def __init__(self, directory: Path) -> None:
        """Raises DataError where there is no spec."""
        self.directory = directory
        try:
            self.spec = FeatureSpec.model_validate_json((directory / SPEC).read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{directory / SPEC}: no features can be read without it ({reason})") from None

    def require(self, spec: FeatureSpec) -> None:
        """Raise DataError unless these tokens were made by the tower of `spec`. The index plays no part in training."""
        if any(difference.startswith("tokens.") for difference in self.spec.differences(spec)):
            raise DataError(
                f"{self.directory}: features of '{self.spec.model}' cannot train '{spec.model}': their vision towers differ"
            )

    def load(self, video: str) -> tuple[Tensor, float]:
        """Features [T, P, Dv] and the duration in seconds. Raises DataError for a video that is not there."""
        return _load(self.directory, video, "features")


class FrameBank:
    """Frames by the video's name, as the tower takes them."""

    def __init__(self, directory: Path) -> None:
        """Raises DataError where there are none."""
        self.directory = directory
        try:
            self.resolution = int(json.loads((directory / FRAMES).read_text(encoding="utf-8"))["resolution"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{directory / FRAMES}: no frames can be read without it ({reason})") from None

    def require(self, resolution: int) -> None:
        """Raise DataError unless the frames have the resolution of the tower, in pixels."""
        if self.resolution != resolution:
            raise DataError(
                f"{self.directory}: frames of {self.resolution} pixels cannot train a tower that takes {resolution}"
            )

    def load(self, video: str) -> tuple[Tensor, float]:
        """Frames uint8 [T, S, S, 3] and the duration in seconds. Raises DataError for a video that is not there."""
        return _load(self.directory, video, "frames")


def _load(directory: Path, video: str, kind: str) -> tuple[Tensor, float]:
    path = feature_path(directory, video)
    try:
        with safe_open(path, framework="pt") as file:
            # A copy: the file is mapped, and would be read page by page in the middle of a step.
            return file.get_tensor(kind).clone(), float(file.metadata()["seconds"])
    except (OSError, SafetensorError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: {kind} of '{video}' cannot be read ({reason})") from None


def feature_path(directory: Path, video: str) -> Path:
    """Where a video's features lie."""
    return directory / f"{Path(video).stem}.safetensors"


def save_features(directory: Path, video: str, features: Tensor, seconds: float, spec: FeatureSpec) -> None:
    """Add a video to a bank, which is made if it is not there. Raises DataError for a bank of another tower."""
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / SPEC).exists():
        FeatureBank(directory).require(spec)
    else:
        (directory / SPEC).write_text(json.dumps(spec.model_dump(mode="json"), indent=1), encoding="utf-8")
    save_file({"features": features.contiguous()}, feature_path(directory, video), metadata={"seconds": repr(seconds)})


def save_frames(directory: Path, video: str, frames: Tensor, seconds: float) -> None:
    """Add a video's frames, uint8 [T, S, S, 3], to a bank, which is made if it is not there. Raises DataError for another resolution."""
    directory.mkdir(parents=True, exist_ok=True)
    resolution = int(frames.shape[1])
    if (directory / FRAMES).exists():
        FrameBank(directory).require(resolution)
    else:
        (directory / FRAMES).write_text(json.dumps({"resolution": resolution}), encoding="utf-8")
    save_file({"frames": frames.contiguous()}, feature_path(directory, video), metadata={"seconds": repr(seconds)})
