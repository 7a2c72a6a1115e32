"""Cached features and cached frames: one safetensors file per video, so that training needs neither zarr nor faiss nor PyAV.

    DIR/spec.json                 whose features these are (memory.base.feature_spec.FeatureSpec)
    DIR/NAME.safetensors          "features" [T, P, Dv]; metadata: name, seconds, source, damage

    DIR/frames.json               {"resolution": S}: a bank of frames, for stages that train the vision tower
    DIR/NAME.safetensors          "frames" uint8 [T, S, S, 3]; metadata: name, seconds, source, damage

NAME is the path of the video below the root of the data, with its suffix: part1/split_1.mp4 lies in DIR/part1/split_1.mp4.safetensors. A
camera of a memory has its id. Versions up to 0.1 named a file after the stem of the video alone, without metadata "name"; such a file is
found for a name without a folder only, and `afterview extract` renames it when it meets the video that it was made of.

training.data.extraction writes these files.
"""

import glob
import json
import math
import os
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from afterview.configs import why_unreadable
from afterview.memory.base.durable import write_file
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.training.base.errors import DataError
from afterview.training.data.bank_files import (
    SUFFIX,
    Header,
    Take,
    bank_name,
    feature_path,
    is_legacy,
    legacy_path,
    read_header,
    rename,
    save,
    taken,
)

SPEC, FRAMES = "spec.json", "frames.json"
BankKind = Literal["features", "frames"]
_MAKE = "`afterview extract VIDEO --out DIR` makes a bank"  # `--frames` is added for one of frames
_AGAIN = "delete it and run `afterview extract` again"


class Located(NamedTuple):
    """A video in a bank. key: its name there. asked: the name that was looked for, which may have another suffix. left: folders that were
    given and are no part of it."""

    key: str
    asked: str
    left: str


class _Bank:
    """Files by the name of a video."""

    kind: BankKind

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def _shape(self) -> tuple[int, ...]:
        """Of one row."""
        raise NotImplementedError

    def find(self, video: str, data_source: str | None = None, data_root: str | None = None) -> str:
        """The name that the bank knows a video by. Raises DataError if it has none, or if it cannot tell which one is meant."""
        return self.locate(video, data_source, data_root).key

    def locate(self, video: str, data_source: str | None = None, data_root: str | None = None) -> Located:
        """The name that the bank knows a video by.

        As the published reader does, it looks below data_source first; data_root is that of a mixture. Raises DataError as `find` does.
        """
        root, source = os.path.normpath(data_root or ""), data_source or ""
        inner = "" if os.path.isabs(root) or root == os.curdir else root
        wanted: dict[str, str] = {}  # name -> folders that it leaves out
        for folders, left in (
            ((inner, source), ""),
            ((inner,), source),
            ((source,), inner),
            ((), os.path.join(inner, source)),
        ):
            wanted.setdefault(bank_name(os.path.join(*folders, video)), left)
        if source and any((self.directory / place / source).is_dir() for place in ("", inner)):
            # This bank keeps the folders of data_source: the same name outside of them is another video.
            wanted = {name: left for name, left in wanted.items() if os.path.basename(source) not in left.split(os.sep)}
        for name, left in wanted.items():
            if feature_path(self.directory, name).exists():
                return Located(name, name, left)
        alone = bank_name(video)
        if alone in wanted and Path(alone).name == alone and is_legacy(legacy_path(self.directory, alone)):
            return Located(alone, alone, wanted[alone])
        for name, left in wanted.items():  # published files of features are called as the video is, with another suffix
            for other in (str(Path(name).with_suffix(suffix)) for suffix in (".pt", ".PT")):
                if feature_path(self.directory, other).exists():
                    return Located(other, name, left)
        raise DataError(self._missing(alone if alone in wanted else next(iter(wanted))))

    @cached_property
    def _folders(self) -> dict[str, str]:
        """Names of videos without their folders -> one name with them."""
        found = (path.relative_to(self.directory).as_posix() for path in self.directory.glob(f"*/**/*{SUFFIX}"))
        return {Path(name).name: name.removesuffix(SUFFIX) for name in found}

    def _in_a_folder(self, name: str) -> str:
        near = self._folders.get(f"{name}{SUFFIX}")
        return f", only '{near}': annotations name videos by their paths below the --root of `extract`" if near else ""

    def _missing(self, name: str) -> str:
        alone, old = Path(name).name, legacy_path(self.directory, name)
        lacks, extract = f"{self.directory} does not have '{name}'", f"`afterview extract VIDEO --out {self.directory}"
        rooted = f"{extract} --root DIR`, where VIDEO is DIR/{name},"
        if alone == name:
            suffixed = next(self.directory.glob(f"{glob.escape(name)}.*{SUFFIX}"), None)
            other = (
                f", only '{suffixed.name.removesuffix(SUFFIX)}': annotations name videos with their suffix"
                if suffixed
                else self._in_a_folder(name)
            )
            return f"{lacks}{other}; {extract}` adds it"
        if feature_path(self.directory, alone).exists():
            return f"{lacks}, only '{alone}', which was extracted without its folder and may be another video; {rooted} adds it"
        if is_legacy(old):
            return (
                f"{lacks}, only '{old.name}' of an earlier version, which did not keep folders, and may be another video; {rooted} "
                "renames that file if it was made of this video"
            )
        return f"{lacks}; {rooted} adds it"

    def rows(self, video: str, data_source: str | None = None, data_root: str | None = None) -> int:
        """How many frames a video has, from its header. Raises DataError as `load` does."""
        return self.check(self.find(video, data_source, data_root)).shape[0]

    def check(self, video: str) -> Header:
        """What the file of a video says of itself; its values are not read. video: its name here.

        Raises DataError unless it has the right kind and shape.
        """
        path = self.path(video)
        try:
            header = read_header(path)
        except (OSError, SafetensorError, ValueError) as error:
            reason = why_unreadable(error) if isinstance(error, OSError) else "truncated, or not such a file"
            raise DataError(f"{path}: {self.kind} of '{video}' cannot be read ({reason}); {_AGAIN}") from None
        if header.kind != self.kind:
            raise DataError(f"{path}: holds {header.kind}, not {self.kind}; {_AGAIN}")
        self._require(path, video, header.dtype, header.shape)
        if (
            header.name is not None and header.name != video
        ):  # renamed by hand, or a file system without upper and lower case
            raise DataError(f"{path}: is of '{header.name}', not of '{video}'; {_AGAIN}")
        return header

    def load(
        self, video: str, data_source: str | None = None, data_root: str | None = None, *, take: Take | None = None
    ) -> tuple[Tensor, float]:
        """Features [T, P, Dv] or frames uint8 [T, S, S, 3], and the duration in seconds. data_source, data_root: as for `locate`.

        take: which rows are read; None: all of them. Raises DataError if the video is missing or does not fit.
        """
        video = self.find(video, data_source, data_root)
        path, kind = self.path(video), self.kind
        try:
            with safe_open(path, framework="pt") as file:
                seconds, part = float((file.metadata() or {})["seconds"]), file.get_slice(kind)
                # A copy: the file is memory-mapped and would be read page by page during a step.
                found = (
                    file.get_tensor(kind).clone() if take is None else taken(part, take(part.get_shape()[0], seconds))
                )
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            reason = why_unreadable(error) if isinstance(error, OSError) else "truncated, or not such a file"
            raise DataError(f"{path}: {kind} of '{video}' cannot be read ({reason}); {_AGAIN}") from None
        self._require(path, video, str(found.dtype).removeprefix("torch."), tuple(found.shape))
        ends = found.aminmax() if found.is_floating_point() else ()  # 20 times as fast as isfinite
        if not (math.isfinite(seconds) and seconds > 0 and all(math.isfinite(float(end)) for end in ends)):
            raise DataError(
                f"{path}: {kind} of '{video}', or their duration, hold values that are not finite; {_AGAIN}"
            )
        return found, seconds

    def _require(self, path: Path, video: str, dtype: str, shape: tuple[int, ...]) -> None:
        right = "uint8" if self.kind == "frames" else "float16"
        if shape[1:] != self._shape or not shape[0] or dtype != right:
            got, wanted = f"{dtype} {list(shape)}", f"{right} [T, {', '.join(map(str, self._shape))}]"
            raise DataError(f"{path}: {self.kind} of '{video}' are {got}; {wanted} is expected, T at least 1; {_AGAIN}")

    def path(self, video: str) -> Path:
        """The file of a video by its name in the bank, also one of an earlier version."""
        path, old = feature_path(self.directory, video), legacy_path(self.directory, video)
        return old if not path.exists() and is_legacy(old) and Path(video).name == video else path


class FeatureBank(_Bank):
    """Features by the name of a video."""

    kind: BankKind = "features"

    def __init__(self, directory: Path) -> None:
        """Raises DataError if there is no spec."""
        super().__init__(directory)
        try:
            self.spec = FeatureSpec.model_validate_json((directory / SPEC).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:  # pydantic's errors are ValueErrors
            reason = "damaged" if isinstance(error, ValidationError) else why_unreadable(error)
            raise DataError(f"{directory / SPEC}: no features can be read without it ({reason}); {_MAKE}") from None

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.spec.tokens.tokens_per_frame, self.spec.tokens.width

    def require(self, spec: FeatureSpec) -> None:
        """Raise DataError unless the tower of `spec` made these tokens. Training does not use the index."""
        if any(difference.startswith("tokens.") for difference in self.spec.differences(spec)):
            raise DataError(
                f"{self.directory}: features of '{self.spec.model}' cannot train '{spec.model}': their vision towers differ"
            )


class FrameBank(_Bank):
    """Frames by the name of a video, in the tower's resolution."""

    kind: BankKind = "frames"

    def __init__(self, directory: Path) -> None:
        """Raises DataError if the directory is not a bank of frames."""
        super().__init__(directory)
        try:
            self.resolution = int(json.loads((directory / FRAMES).read_text(encoding="utf-8"))["resolution"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{directory / FRAMES}: no frames can be read without it ({why_unreadable(error)}); {_MAKE} --frames"
            ) from None

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.resolution, self.resolution, 3

    def require(self, resolution: int) -> None:
        """Raise DataError unless the frames have the tower's resolution, in pixels."""
        if self.resolution != resolution:
            raise DataError(
                f"{self.directory}: frames of {self.resolution} pixels cannot train a tower that takes {resolution}"
            )


def holds(directory: Path, video: str, kind: BankKind, *, source: str = "") -> bool:
    """Whether the bank has a readable file for a video.

    source: what the video is made of, as `save_features` was told. A file of an earlier version that was made of it is renamed. Raises
    DataError if the file is of another source or kind. (A bank of an earlier version may not know its sources.)
    """
    path, old = feature_path(directory, video), legacy_path(directory, video)
    if not path.exists() and is_legacy(old):
        known = read_header(old).source
        if source and known == source:
            rename(old, path, video)
        elif (
            known or Path(video).name != video
        ):  # of another video, or nobody knows: it stays, and is never read for this one
            return False
        else:
            path = old
    try:
        header = read_header(path)
    except (OSError, SafetensorError, ValueError):  # missing, or truncated by a crash of version 0.1.0
        return False
    if header.kind != kind:
        raise DataError(f"{path}: holds {header.kind}, not {kind}; give another directory")
    if source and header.source and header.source != source:
        raise DataError(
            f"{path}: was made of another '{video}'; give `--root DIR`, below which the two have different paths, use another bank, "
            "or delete that file to replace it"
        )
    return True


def damage_in(directory: Path, video: str) -> str:
    """What is wrong with a video that the bank has, for people; empty if nothing is known to be, or if it does not have it."""
    try:
        return read_header(feature_path(directory, video)).damage
    except (OSError, SafetensorError, ValueError):
        return ""


def save_features(
    directory: Path,
    video: str,
    features: Tensor,
    seconds: float,
    spec: FeatureSpec,
    *,
    source: str = "",
    damage: str = "",
) -> None:
    """Add a video to a bank, creating the bank if necessary. source: what it is made of. damage: what is wrong with it, for people.

    Raises DataError for another tower.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / SPEC).exists():
        FeatureBank(directory).require(spec)
    else:
        write_file(directory / SPEC, json.dumps(spec.model_dump(mode="json"), indent=1).encode())
    _save_video(directory, video, {"features": features.contiguous()}, seconds, source, damage)


def save_frames(
    directory: Path, video: str, frames: Tensor, seconds: float, *, source: str = "", damage: str = ""
) -> None:
    """Add the frames of a video, uint8 [T, S, S, 3], to a bank, creating it if necessary. Raises DataError for another resolution."""
    directory.mkdir(parents=True, exist_ok=True)
    resolution = int(frames.shape[1])
    if (directory / FRAMES).exists():
        FrameBank(directory).require(resolution)
    else:
        write_file(directory / FRAMES, json.dumps({"resolution": resolution}).encode())
    _save_video(directory, video, {"frames": frames.contiguous()}, seconds, source, damage)


def _save_video(
    directory: Path, video: str, tensors: dict[str, Tensor], seconds: float, source: str, damage: str
) -> None:
    metadata = {"name": bank_name(video), "seconds": repr(seconds), "source": source}
    save(feature_path(directory, video), tensors, metadata | ({"damage": damage} if damage else {}))
