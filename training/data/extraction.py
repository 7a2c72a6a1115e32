"""Fills a bank of features or of frames from videos or memories: offline extraction is live ingest with a file as its source."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from afterview.memory.reading.reader import CameraReader
from afterview.model.checkpoint.loaded import Encoders
from afterview.model.vision.preprocess import to_square
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.media import decode_jpeg
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address import parse_source
from afterview.training.base.errors import DataError
from afterview.training.data.features import FRAMES, SPEC, FeatureBank, FrameBank, holds, save_features, save_frames


def require_bank(directory: Path, encoders: Encoders, *, frames: bool = False) -> None:
    """Raise DataError where the directory is a bank of the other kind, or one of another tower."""
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
    """Take a video in and keep its features, or its frames; False when they are there already."""
    if holds(directory, path.name, "frames" if frames else "features"):
        return False
    with tempfile.TemporaryDirectory() as memory:
        run_loop(_take_in(path, Path(memory), encoders))
        extract_camera(CameraReader(Path(memory) / "video"), path.name, directory, frames=frames)
    return True


def extract_camera(reader: CameraReader, name: str, directory: Path, *, frames: bool = False) -> None:
    """Keep everything that a camera remembers as the features, or the frames, of a video called `name`."""
    snapshot = reader.snapshot()
    ids = snapshot.ids
    if not len(ids):
        raise DataError(f"{reader.directory}: remembers nothing to train on")
    seconds = round(float(snapshot.times[-1] - snapshot.times[0]) + 1 / snapshot.info.fps, 3)
    if frames:
        side = snapshot.spec.tokens.resolution
        pictures = np.stack([to_square(decode_jpeg(image), side) for image in snapshot.images(ids)])
        save_frames(directory, name, torch.from_numpy(pictures), seconds)
    else:
        tokens = np.ascontiguousarray(snapshot.tokens(ids))
        save_features(directory, name, torch.from_numpy(tokens), seconds, snapshot.spec)


async def _take_in(path: Path, memory: Path, encoders: Encoders) -> None:
    async with Session(memory, encoders) as session:
        session.add("video", IngestConfig(parse_source(str(path)), live=False, start=0.0))
        await session.run()
