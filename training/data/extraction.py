"""Extracts the features or frames of videos and memories into a bank. A video is ingested as live video is, with a file as the source."""

import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import torch

from afterview.configs import UsageError
from afterview.memory.directory import Memory
from afterview.memory.reading.reader import CameraReader
from afterview.model.checkpoint.loading import load_encoders
from afterview.model.checkpoint.models import Encoders
from afterview.model.vision.preprocess import to_square
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.media import decode_jpeg
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from afterview.training.base.errors import DataError
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.data.features import FRAMES, SPEC, FeatureBank, FrameBank, holds, save_features, save_frames

_IDENTITY_BYTES = 1 << 20

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extraction:
    """The result of extracting several sources."""

    bank: Path
    made: list[str]  # names of the new videos in the bank
    seconds: float
    skipped: dict[str, str] = field(default_factory=dict)  # cameras that could not be read, and why

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"bank": str(self.bank), "made": self.made, "seconds": round(self.seconds, 1), "skipped": self.skipped}


def extract(
    sources: Sequence[Path],
    model: str,
    directory: Path,
    *,
    frames: bool = False,
    progress: ShowProgress = unseen,
) -> Extraction:
    """Extract videos, and all cameras of memories, into the bank `directory`. Sources that the bank has already are skipped.

    model: a preset's name or path; its encoders run. frames: keep frames instead of features. progress: how long work is shown.
    Raises UsageError for two sources of one name, DataError for a bank that does not fit.
    """
    _require_names(sources)
    began, made, skipped = time.monotonic(), list[str](), dict[str, str]()
    with progress(f"loading model {model}"):
        encoders = load_encoders(model, with_index=False)  # a bank has no index
    require_bank(directory, encoders, frames=frames)
    for number, source in enumerate(sources, 1):
        with progress(f"{source} ({number} of {len(sources)})"):
            if source.is_dir():
                done = Memory(source).each(lambda reader: _extract_new(reader, directory, frames=frames))
                new = [name for name, is_new in done.results.items() if is_new]
                skipped |= done.skipped
            else:
                new = [source.name] if extract_video(source, encoders, directory, frames=frames) else []
        made += new
        _LOGGER.info("%s: %s in %s", source, "is" if new else "was already", directory)
    return Extraction(directory, made, time.monotonic() - began, skipped)


def _require_names(sources: Sequence[Path]) -> None:
    """A bank names its videos without their suffix, so two sources of one name would collide."""
    names: dict[str, Path] = {}
    for source in sources:
        for name in Memory(source).camera_ids() if source.is_dir() else [source.stem]:
            if name in names:
                raise UsageError(
                    f"{names[name]} and {source} would both be '{name}' in the bank; rename one, or use two banks"
                )
            names[name] = source


def require_bank(directory: Path, encoders: Encoders, *, frames: bool = False) -> None:
    """Raise DataError if the directory is a bank of the other kind, or of another tower."""
    spec = encoders.feature_spec
    if (directory / SPEC).exists():
        if frames:
            raise DataError(f"{directory}: is a bank of features; give another directory for frames")
        FeatureBank(directory).require(spec)
    if (directory / FRAMES).exists():
        if not frames:
            raise DataError(f"{directory}: is a bank of frames; give another directory for features")
        FrameBank(directory).require(spec.tokens.resolution)


def extract_video(path: Path, encoders: Encoders, directory: Path, *, frames: bool = False) -> bool:
    """Ingest a video and store its features or frames. Returns False if the bank has them already. Raises DataError for another source."""
    source = _identity(path)
    if holds(directory, path.name, "frames" if frames else "features", source=source):
        return False
    with tempfile.TemporaryDirectory() as memory:
        run_loop(_ingest(path, Path(memory), encoders))
        extract_camera(CameraReader(Path(memory) / "video"), path.name, directory, frames=frames, source=source)
    return True


def _identity(video: Path) -> str:
    """What tells a file from others of its name: its size, and a checksum of its beginning and its end."""
    size = video.stat().st_size
    with video.open("rb") as file:
        ends = file.read(_IDENTITY_BYTES)
        file.seek(max(0, size - _IDENTITY_BYTES))
        ends += file.read(_IDENTITY_BYTES)
    return f"file {size} {google_crc32c.value(ends):08x}"


def _extract_new(reader: CameraReader, directory: Path, *, frames: bool) -> bool:
    """Extract a camera; False if the bank has it already."""
    source = f"camera {reader.info.created!r}"
    if holds(directory, reader.info.id, "frames" if frames else "features", source=source):
        return False
    extract_camera(reader, reader.info.id, directory, frames=frames, source=source)
    return True


def extract_camera(reader: CameraReader, name: str, directory: Path, *, frames: bool = False, source: str = "") -> None:
    """Store everything that a camera remembers as the features or frames of a video called `name`. source: for `holds`."""
    snapshot = reader.snapshot()
    ids = snapshot.ids
    if not len(ids):
        raise DataError(f"{reader.directory}: holds no frames to train on")
    seconds = round(float(snapshot.times[-1] - snapshot.times[0]) + 1 / snapshot.info.fps, 3)
    if frames:
        side = snapshot.spec.tokens.resolution
        pictures = np.stack([to_square(decode_jpeg(image), side) for image in snapshot.images(ids)])
        save_frames(directory, name, torch.from_numpy(pictures), seconds, source=source)
    else:
        tokens = np.ascontiguousarray(snapshot.tokens(ids))
        save_features(directory, name, torch.from_numpy(tokens), seconds, snapshot.spec, source=source)


async def _ingest(path: Path, memory: Path, encoders: Encoders) -> None:
    async with Session(memory, encoders) as session:
        session.add("video", IngestConfig(parse_source(str(path)), live=False, start=0.0))
        await session.run()
