"""Fills a feature bank from videos or memories: offline feature extraction is live ingest with a file as its source."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from memory.reader import CameraReader
from model.loaded import Encoders
from stream.address import parse_source
from stream.ingest import IngestConfig
from stream.session import Session
from stream.session import run as run_loop
from training.features import feature_path, save_features


def extract_video(path: Path, encoders: Encoders, directory: Path) -> bool:
    """Take a video in and keep its features; False when they are there already."""
    if feature_path(directory, path.name).exists():
        return False
    with tempfile.TemporaryDirectory() as memory:
        run_loop(_take_in(path, Path(memory), encoders))
        extract_camera(CameraReader(Path(memory) / "video"), path.name, directory)
    return True


def extract_camera(reader: CameraReader, name: str, directory: Path) -> None:
    """Keep everything that a camera remembers as the features of a video called `name`."""
    snapshot = reader.snapshot()
    count = len(snapshot.times)
    tokens = snapshot.tokens(np.arange(count))
    seconds = float(snapshot.times[-1] - snapshot.times[0]) + 1 / snapshot.info.fps
    save_features(directory, name, torch.from_numpy(np.ascontiguousarray(tokens)), round(seconds, 3), snapshot.spec)


async def _take_in(path: Path, memory: Path, encoders: Encoders) -> None:
    async with Session(memory, encoders) as session:
        session.add("video", IngestConfig(parse_source(str(path)), live=False, start=0.0))
        await session.run()
