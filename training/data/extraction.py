"""Extracts the features or frames of videos and memories into a bank. A video is ingested as live video is, with a file as the source.

A source that cannot be used does not end the others; what is damaged is recorded in the bank and named.
"""

import logging
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from afterview.configs import UsageError
from afterview.memory.base.durable import DISK_FULL
from afterview.memory.directory import Memory
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.model.checkpoint.loading import load_encoders
from afterview.model.checkpoint.models import Encoders
from afterview.model.vision.preprocess import to_square
from afterview.stream.ask.length import span_seconds
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.media import decode_jpeg
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from afterview.training.base.errors import DataError
from afterview.training.base.files import file_identity
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.data.clip_rows import require_regular
from afterview.training.data.damage import damage_of_camera, damage_of_video
from afterview.training.data.features import (
    FRAMES,
    SPEC,
    BankKind,
    FeatureBank,
    FrameBank,
    damage_in,
    holds,
    save_features,
    save_frames,
)
from afterview.training.data.published_features import is_published, read_published
from afterview.training.data.rows import Rows, plan_rows

Damaged = Literal["keep", "refuse"]
"""What to do with a damaged video. keep: missing seconds keep their places, and the bank records the damage. refuse: it is a failure."""

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extraction:
    """The result of extracting several sources."""

    bank: Path
    made: list[str]  # names of the new videos in the bank
    seconds: float
    skipped: dict[str, str] = field(default_factory=dict)  # cameras that could not be read, and why
    failed: dict[str, str] = field(default_factory=dict)  # sources that could not be used, and why
    damaged: dict[str, str] = field(default_factory=dict)  # names of videos in the bank, new or not, and their damage

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        named = {"skipped": self.skipped, "failed": self.failed, "damaged": self.damaged}
        return {"bank": str(self.bank), "made": self.made, "seconds": round(self.seconds, 1), **named}


def extract(
    sources: Sequence[Path],
    model: str,
    directory: Path,
    *,
    root: Path | None = None,
    frames: bool = False,
    damaged: Damaged = "keep",
    progress: ShowProgress = unseen,
) -> Extraction:
    """Extract videos, published files of features, and all cameras of memories, into the bank `directory`.

    Sources that the bank has already are left out; those that cannot be used are named in the result. model: a preset's name or path; its
    encoders run. root: a video is called by its path below it; None: by its file name. frames: keep frames instead of features.
    progress: how long work is shown. Raises UsageError for two sources of one name, DataError for a bank that does not fit.
    """
    names = bank_names(sources, root)
    began = time.monotonic()
    with progress(f"loading model {model}"):
        encoders = load_encoders(model, with_index=False)  # a bank has no index
    require_bank(directory, encoders, frames=frames)
    done = Extraction(directory, [], 0.0)
    for number, source in enumerate(sources, 1):
        with progress(f"{source} ({number} of {len(sources)})"):
            try:
                if source.is_dir():
                    new = _extract_memory(Memory(source), done, frames=frames, damaged=damaged)
                else:
                    new = _extract_file(source, names[source], encoders, done, frames=frames, damaged=damaged)
            except Exception as error:  # codecs raise any type; one bad file must not end the others
                if _ends_all(error, directory):
                    raise
                _LOGGER.debug("%s", source, exc_info=True)
                _LOGGER.error("%s", error)
                done.failed[str(source)] = str(error).removeprefix(f"{source}: ") or type(error).__name__
                continue
        _LOGGER.info("%s: %s in %s", source, "is" if new else "was already", directory)
        done.made.extend(new)
    return Extraction(directory, done.made, time.monotonic() - began, done.skipped, done.failed, done.damaged)


def _ends_all(error: Exception, directory: Path) -> bool:
    """Whether no other source would fare better: memory or disk is full, or the bank cannot be written."""
    if isinstance(error, OSError):
        of_bank = error.filename is not None and str(error.filename).startswith(str(directory))
        return error.errno in DISK_FULL or of_bank
    return isinstance(error, torch.OutOfMemoryError | MemoryError)


def bank_names(sources: Sequence[Path], root: Path | None) -> dict[Path, str]:
    """What a bank calls the files among the sources. Raises UsageError for two sources of one name, and for one that is not below root."""
    names: dict[Path, str] = {}
    taken: dict[str, Path] = {}
    for source in dict.fromkeys(sources):
        if not source.is_dir():
            names[source] = _below(root, source)
        for name in Memory(source).camera_ids() if source.is_dir() else [names[source]]:
            if name in taken:
                raise UsageError(
                    f"{taken[name]} and {source} would both be '{name}' in the bank; give `--root DIR`, below which they have different "
                    "paths, or use two banks"
                )
            taken[name] = source
    return names


def _below(root: Path | None, source: Path) -> str:
    if root is None:
        return source.name
    for place in (os.path.abspath, os.path.realpath):
        below = os.path.relpath(place(source), place(root))
        if below.split(os.sep)[0] != os.pardir:
            return below
    raise UsageError(f"{source}: does not lie below --root {root}, by whose paths annotations name videos")


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


def _extract_file(
    source: Path, name: str, encoders: Encoders, done: Extraction, *, frames: bool, damaged: Damaged
) -> list[str]:
    new = extract_video(source, encoders, done.bank, name=name, frames=frames, damaged=damaged)
    if damage := damage_in(done.bank, name):
        done.damaged[name] = damage
        if new:
            _LOGGER.warning("%s: is damaged: %s", source, damage)
    return [name] if new else []


def _extract_memory(memory: Memory, done: Extraction, *, frames: bool, damaged: Damaged) -> list[str]:
    new = []

    def extract_one(reader: CameraReader) -> None:
        name = reader.info.id
        try:
            if _extract_new(reader, done.bank, frames=frames, damaged=damaged):
                new.append(name)
        except DataError as error:
            done.skipped[name] = str(error)
        if damage := damage_in(done.bank, name):
            done.damaged[name] = damage

    done.skipped.update(memory.each(extract_one).skipped)
    return new


def extract_video(
    path: Path,
    encoders: Encoders,
    directory: Path,
    *,
    name: str | None = None,
    frames: bool = False,
    damaged: Damaged = "keep",
) -> bool:
    """Ingest a video, or a published file of features, and store its features or frames. name: in the bank; None: its file name.

    Returns False if the bank has them already. Raises DataError for another source, and for a damaged one that is to be refused.
    """
    name, source = name or path.name, file_identity(path)
    if holds(directory, name, _kind(frames), source=source):
        _require_whole(path, damage_in(directory, name), damaged, "; the bank has it: delete its file there")
        return False
    if is_published(path):
        if frames:
            raise DataError(f"{path}: holds features, and a bank of frames needs the video")
        features, seconds, damage = read_published(path, encoders.feature_spec)
        _require_whole(path, damage, damaged)
        save_features(directory, name, features, seconds, encoders.feature_spec, source=source, damage=damage)
        return True
    with tempfile.TemporaryDirectory() as memory:
        camera = run_loop(_ingest(path, Path(memory), encoders))
        reader = CameraReader(Path(memory) / "video")
        snapshot, lacking = _frames_of(reader), camera.stats.lacking
        rows = plan_rows(snapshot.times, None if camera.short is None else camera.short.times, start_s=lacking.start_s)
        damage = damage_of_video(camera.stats, rows)
        _require_whole(path, damage, damaged)
        seconds = span_seconds(reader, snapshot, 0, len(snapshot.ids)) + rows.before_s
        _store(snapshot, rows, name, directory, seconds, frames=frames, source=source, damage=damage)
    return True


def _kind(frames: bool) -> BankKind:
    return "frames" if frames else "features"


def _require_whole(path: Path, damage: str, damaged: Damaged, hint: str = "") -> None:
    if damage and damaged == "refuse":
        raise DataError(f"{path}: is damaged: {damage} (`--damaged keep` takes it{hint})")


def _extract_new(reader: CameraReader, directory: Path, *, frames: bool, damaged: Damaged) -> bool:
    """Extract a camera; False if the bank has it already."""
    source, name = f"camera {reader.info.created!r}", reader.info.id
    if holds(directory, name, _kind(frames), source=source):
        _require_whole(
            reader.directory, damage_in(directory, name), damaged, "; the bank has it: delete its file there"
        )
        return False
    extract_camera(reader, name, directory, frames=frames, source=source, damaged=damaged)
    return True


def extract_camera(
    reader: CameraReader,
    name: str,
    directory: Path,
    *,
    frames: bool = False,
    source: str = "",
    damaged: Damaged = "keep",
) -> None:
    """Store everything that a camera remembers as the features or frames of a video called `name`. source: for `holds`.

    Its rows are its frames, as in asking: gaps of a camera may last for days, so they are recorded and not filled.
    """
    snapshot = _frames_of(reader)
    if len(snapshot.unreachable):
        raise DataError(
            f"{reader.directory}: {len(snapshot.unreachable)} frames cannot be read now ({snapshot.unreachable_why}); try again later"
        )
    damage = damage_of_camera(snapshot)
    _require_whole(reader.directory, damage, damaged)
    rows = Rows(np.arange(len(snapshot.ids), dtype=np.int64))
    seconds = span_seconds(reader, snapshot, 0, len(snapshot.ids))
    _store(snapshot, rows, name, directory, seconds, frames=frames, source=source, damage=damage)


def _frames_of(reader: CameraReader) -> MemorySnapshot:
    snapshot = reader.snapshot()
    if not len(snapshot.ids):
        raise DataError(f"{reader.directory}: holds no frames to train on")
    return snapshot


def _store(
    snapshot: MemorySnapshot,
    rows: Rows,
    name: str,
    directory: Path,
    seconds: float,
    *,
    frames: bool,
    source: str,
    damage: str,
) -> None:
    if frames:
        side = snapshot.spec.tokens.resolution
        pictures: NDArray[np.uint8] = np.stack(
            [to_square(decode_jpeg(image), side) for image in snapshot.images(snapshot.ids)]
        )
        save_frames(directory, name, torch.from_numpy(pictures[rows.frames]), seconds, source=source, damage=damage)
    else:
        if snapshot.spec.tokens.clip_marks:
            require_regular(name, snapshot.clip_marks(snapshot.ids), rows.frames)
        tokens = torch.from_numpy(np.ascontiguousarray(snapshot.tokens(snapshot.ids)[rows.frames]))
        save_features(directory, name, tokens, seconds, snapshot.spec, source=source, damage=damage)


async def _ingest(path: Path, memory: Path, encoders: Encoders) -> CameraIngest:
    async with Session(memory, encoders) as session:
        camera = session.add("video", IngestConfig(parse_source(str(path)), live=False, start=0.0))
        await session.run()
        return camera
