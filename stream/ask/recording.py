"""A question about a recording itself, without a memory: VideoChat-Flash sees its frames as the published chat samples them.

Published: the frames of the file are counted, `dense_indices` of them are chosen (memory.plans.clip_sampling), and four neighbours
among the chosen ones make a clip. In a memory four neighbours in time do.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from numpy.typing import NDArray

from afterview.configs import UsageError
from afterview.memory.plans.clip_sampling import ClipSampling, dense_indices
from afterview.model.vision.preprocess import to_square
from afterview.stream.errors import NotAVideo, SourceNotFound
from afterview.stream.source.events import Picture
from afterview.stream.source.geometry import PixelShape

if TYPE_CHECKING:  # a model is handed in: importing this module must not load torch
    from afterview.model.base.generation import GenerationSettings
    from afterview.model.checkpoint.models import AfterviewModel

_BEFORE_END_S = 0.1  # a part of a recording ends so many seconds before its end, as published


@dataclass(frozen=True)
class SampledRecording:
    """The frames of a recording that the model sees. indices: of the file's frames, ascending; seconds: of the recording or its part."""

    indices: NDArray[np.int64]
    seconds: float
    fps: float
    frames: NDArray[np.uint8]  # RGB [n, S, S, 3]


@dataclass(frozen=True)
class RecordingAnswer:
    """The answer to a question about a recording. times: seconds since its beginning of the frames that were seen."""

    question: str
    text: str
    seconds: float
    indices: tuple[int, ...]
    times: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        seen = {"frames": len(self.indices), "indices": list(self.indices), "times": list(self.times)}
        return {
            "question": self.question,
            "answer": self.text,
            "seconds": self.seconds,
            "evidence_kind": "none",
            **seen,
        }


def plan_recording(
    frames: int, fps: float, config: ClipSampling, start: float | None = None, end: float | None = None
) -> tuple[NDArray[np.int64], float]:
    """Indices of the frames that are seen, and the seconds that the prompt says. start, end: a part, in seconds. Raises UsageError."""
    seconds, first, count = frames / fps, 0, frames
    if start is not None or end is not None:
        low = max(0.0, start or 0.0)
        high = min(seconds - _BEFORE_END_S, math.inf if end is None else end)
        if high <= low:
            raise UsageError(f"the part from {low:g} to {high:g} s holds nothing; the recording lasts {seconds:g} s")
        seconds, first, count = high - low, int(low * fps), int((high - low) * fps)
    if not count:
        raise UsageError(f"the part of {seconds:g} s holds no frame; give a longer one")
    return first + dense_indices(count, count / fps, config), seconds


def sample_recording(
    path: Path, side: int, config: ClipSampling, *, start: float | None = None, end: float | None = None
) -> SampledRecording:
    """Read the frames that are seen, as squares of `side` pixels. Raises SourceNotFound, NotAVideo, UsageError."""
    count, fps = _measure(path)
    indices, seconds = plan_recording(count, fps, config, start, end)
    squares: dict[int, NDArray[np.uint8]] = {}
    wanted, last = set(indices.tolist()), int(indices[-1])
    for number, picture in enumerate(_pictures(path)):
        if number in wanted:
            squares[number] = to_square(picture.rgb(), side)
        if number == last:
            break
    if not squares:
        raise NotAVideo(f"{path}: no picture could be decoded from it; check that it plays")
    newest = squares[max(squares)]  # where fewer can be decoded than the file says
    return SampledRecording(indices, seconds, fps, np.stack([squares.get(index, newest) for index in indices.tolist()]))


def ask_recording(
    path: Path,
    question: str,
    model: "AfterviewModel",
    *,
    start: float | None = None,
    end: float | None = None,
    seed: int = 0,
    settings: "GenerationSettings | None" = None,
) -> RecordingAnswer:
    """Answer a question about a recording. Raises UsageError for a model that sees no clips, and what `sample_recording` raises."""
    from afterview.model.vision.clip_encoder import ClipEncoder, see_clips  # late: it loads torch

    if not isinstance(model.vision, ClipEncoder) or not model.preset.sees_clips:
        raise UsageError(
            f"model '{model.preset.reference}' is no VideoChat-Flash: record the file with `afterview replay` and ask the memory"
        )
    import torch

    seen = sample_recording(path, model.vision.spec.resolution, model.preset.clip_sampling, start=start, end=end)
    with torch.inference_mode():
        features, layout = see_clips(seen.frames, model.vision)
    prompt = model.prompt(question.strip(), frames=len(seen.indices), seconds=seen.seconds)
    inputs = model.video_inputs([(features, layout, prompt)])[0]
    text = "".join(model.answer(inputs, seed=seed, settings=settings)).strip()
    times = tuple(round(index / seen.fps, 3) for index in seen.indices.tolist())
    return RecordingAnswer(question, text, round(seen.seconds, 3), tuple(seen.indices.tolist()), times)


def _measure(path: Path) -> tuple[int, float]:
    """Number of frames, and frames per second on average."""
    with _opened(path) as container:
        stream = _video(container, path)
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        count = sum(packet.size > 0 for packet in container.demux(stream))
        if not count or not rate:
            raise NotAVideo(f"{path}: holds no video frames, or does not say how many there are in a second")
        return count, float(rate)


def _pictures(path: Path) -> Iterator[Picture]:
    with _opened(path) as container:
        stream = _video(container, path)
        stream.thread_type = "AUTO"
        shape = PixelShape(stream)
        for frame in container.decode(stream):
            yield Picture(frame, shape.now())


def _opened(path: Path) -> av.container.InputContainer:
    try:
        return av.open(str(path))
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise SourceNotFound(f"{path}: cannot be read ({error.strerror}); name a video file") from None
    except av.FFmpegError as error:
        raise NotAVideo(f"{path}: not a video that can be read ({error.strerror})") from None


def _video(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    found = container.streams.best("video")
    if not isinstance(found, av.VideoStream):
        raise NotAVideo(f"{path}: holds no video; name a file with one")
    return found
