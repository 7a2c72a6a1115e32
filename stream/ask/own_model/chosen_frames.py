"""Which frames of a camera are sent to a user's model: chosen by recall and index, in order of time, as JPEGs of the wanted size."""

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from afterview.memory.base.errors import DamagedFrames, NothingRecorded, UnreachableFrames
from afterview.memory.directory import Memory
from afterview.memory.plans.recall import RecallConfig, apart, plan_recall
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.stream.ask.context import require_wanted
from afterview.stream.ask.question import Question, Search
from afterview.stream.ask.span import find_span
from afterview.stream.media import decode_jpeg, encode_jpeg

_MOST_CHANGES = 8  # times that a question starts over because frames were forgotten
_CANDIDATES = 16  # frames that the index names for each one that is sent: many lie side by side


@dataclass(frozen=True)
class ChosenFrame:
    """A frame that is sent. number: as the model is told, from 1."""

    number: int
    id: int
    time: float
    stored: bytes
    sent: bytes


@dataclass(frozen=True)
class ChosenFrames:
    """The frames of one camera. ids: of the span. left_out: chosen, but their picture could not be read. mode: as a recall plan's."""

    snapshot: MemorySnapshot
    ids: NDArray[np.int64]
    frames: tuple[ChosenFrame, ...]
    search: Search
    mode: str
    left_out: int


def choose_frames(
    memory: Memory,
    snapshot: MemorySnapshot,
    question: Question,
    now: float,
    embed: Callable[[str], NDArray[np.float32]],
    *,
    most: int,
    image_size: int,
    cancel: threading.Event | None = None,
) -> ChosenFrames:
    """Choose at most `most` frames, and read their pictures: of `snapshot`, unless frames were forgotten meanwhile.

    Raises NothingRecorded, DamagedFrames or UnreachableFrames if no picture can be read, UsageError, Cancelled.
    """
    reader = memory.camera(snapshot.info.id)
    reader.require_own(snapshot)
    for _ in range(_MOST_CHANGES):
        found = _choose(memory, snapshot, question, now, embed, most, image_size, cancel)
        if not reader.forgot_since(snapshot):
            return found
        snapshot = reader.snapshot()
    raise NothingRecorded(f"camera '{snapshot.info.id}': its frames are being deleted; ask again when that is done")


def _choose(
    memory: Memory,
    snapshot: MemorySnapshot,
    question: Question,
    now: float,
    embed: Callable[[str], NDArray[np.float32]],
    most: int,
    image_size: int,
    cancel: threading.Event | None,
) -> ChosenFrames:
    first, end = find_span(snapshot, question, now)
    ids = snapshot.ids[first:end]
    nearest, search = np.empty(0, dtype=np.int64), "none"
    if len(ids) > most:
        nearest, search = _nearest(memory, snapshot, ids, embed(question.sought.strip()), most)
    config = RecallConfig(budget=most, window=min(1, most - 1), nearest=most - most // 2, neighbours=0)
    plan = plan_recall(len(ids), np.empty(0, dtype=np.int64), apart(nearest, len(ids), most), config)
    frames: list[ChosenFrame] = []
    failure: DamagedFrames | UnreachableFrames | None = None
    for row in plan.frames:
        require_wanted(cancel)
        frame = int(ids[row])
        try:
            stored = snapshot.image(frame)
            sent = resized(stored, image_size)
        except (DamagedFrames, UnreachableFrames) as error:
            failure = error
            continue
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            failure = DamagedFrames(
                f"camera '{snapshot.info.id}': the picture of frame {frame} is damaged", ids[row : row + 1]
            )
            continue
        frames.append(ChosenFrame(len(frames) + 1, frame, snapshot.time_of(frame), stored, sent))
    if not frames and failure is not None:
        raise failure
    return ChosenFrames(snapshot, ids, tuple(frames), search, plan.mode, len(plan.frames) - len(frames))  # type: ignore[arg-type]


def _nearest(
    memory: Memory, snapshot: MemorySnapshot, ids: NDArray[np.int64], query: NDArray[np.float32], most: int
) -> tuple[NDArray[np.int64], str]:
    """Span numbers of the frames whose embeddings lie nearest to the question, best first."""
    index = memory.index(snapshot.info.id)
    try:
        index.catch_up(snapshot)
    except UnreachableFrames:
        pass  # those that are indexed already are searched
    found = index.search(query, _CANDIDATES * most, snapshot, first=int(ids[0]), end=int(ids[-1]) + 1)
    frames = np.array([hit.frame for hit in found.hits], dtype=np.int64)
    places = np.minimum(np.searchsorted(ids, frames), len(ids) - 1)
    return places[ids[places] == frames], "exact" if found.exact else "approximate"


def resized(jpeg: bytes, short_side: int) -> bytes:
    """A JPEG whose short side has at most so many pixels; one that is small already stays as it is stored."""
    with Image.open(io.BytesIO(jpeg)) as picture:
        small = picture.format == "JPEG" and min(picture.size) <= short_side
        picture.verify()
    return jpeg if small else encode_jpeg(decode_jpeg(jpeg), short_side)
