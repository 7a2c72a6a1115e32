"""Samples a short recording as the published readers do: many different frames of it, not one per second (memory.plans.published_sampling).

It applies to one file that is recorded alone at one frame per second, if the model's preset says so. Live video, archives of several files
and recordings of 128 s and more keep one frame per second. The file is read once before, without decoding, for the times of its frames.
"""

import logging
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

import av

from afterview.memory.base.records import HOLE_STEPS
from afterview.memory.plans.published_sampling import SHORTEST, is_short, video_frames
from afterview.stream.errors import SourceError
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.ingest.sampler import IMPOSSIBLE_S, TOLERANCE_S, Chosen, Sampler
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.opening.choice import choose_stream
from afterview.stream.source.opening.opening import open_container

if TYPE_CHECKING:  # built models are handed in: importing this module must not load torch
    from afterview.model.checkpoint.models import Encoders

_MOST_PACKETS = 200 * SHORTEST  # of a recording that may be short: more are 128 s at 200 frames per second

_JITTER, _REGULAR = (
    0.25,
    0.9,
)  # a recording is regular if so many steps differ by no more than that share from the usual one

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShortRecording:
    """times: of the frames that are taken, ascending, seconds since the first frame. total: frames of the file. rate: per second."""

    times: tuple[float, ...]
    total: int
    rate: float

    @property
    def seconds(self) -> float:
        """Length, as the published reader states it."""
        return self.total / self.rate

    @property
    def last_s(self) -> float:
        """How long the last frame lasts."""
        return self.seconds - self.times[-1]


def short_recording(config: IngestConfig, address: SourceAddress, encoders: "Encoders") -> ShortRecording | None:
    """What is taken of a recording if it is sampled as published; None: one frame per second."""
    named = config.files[0].address if len(config.files) == 1 else address
    if config.live or config.fps != 1.0 or address.kind != "file" or len(config.files) > 1 or named != config.address:
        return None
    if config.source.decode == "keyframes" or (config.short_videos or encoders.preset.short_videos) != "published":
        return None
    if (found := _read_times(config, address)) is None:
        return None
    times, rate = found
    if not is_short(len(times), rate):
        return None
    chosen = video_frames(len(times), rate)
    _LOGGER.debug("%s: %d of %d frames are taken, as published", address.redacted, len(chosen), len(times))
    return ShortRecording(tuple(times[number] for number in chosen), len(times), rate)


def _read_times(config: IngestConfig, address: SourceAddress) -> tuple[list[float], float] | None:
    """Times of all frames, seconds since the first, and frames per second; None: it is not short, or cannot be read without decoding.

    Where frames of a regular recording are missing, their times stand in for them, so that what comes later keeps its place.
    """
    stamps: list[float | None] = []
    again = partial(open_container, address, config.source, time.monotonic)
    try:
        with again() as container:
            stream, _ = choose_stream(container, address, config.source.stream, again)
            base, rate = stream.time_base, float(stream.average_rate or 0.0)
            if base is not None and stream.duration and float(stream.duration * base) > 2 * SHORTEST:
                return None
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    stamps.append(None if packet.pts is None or base is None else float(packet.pts * base))
                if len(stamps) > _MOST_PACKETS:
                    return None
    except (av.FFmpegError, SourceError, OSError, ValueError) as error:  # the recording itself reports what is wrong
        _LOGGER.debug("%s: its times end early: %s", address.redacted, error)
    return time_line(stamps, rate) if stamps else None


def time_line(stamps: Sequence[float | None], rate: float) -> tuple[list[float], float] | None:
    """Times of frames from presentation times of packets in any order, with those of missing ones, and the rate. rate: 0 if unknown."""
    known = sorted({stamp for stamp in stamps if stamp is not None})
    if len(known) < len(stamps) or len(known) < 2:  # not all have a time of their own: by the rate
        return ([number / rate for number in range(len(stamps))], rate) if stamps and rate > 0 else None
    steps = [after - before for before, after in pairwise(known)]
    usual = median(steps)
    regular = sum(abs(step - usual) <= _JITTER * usual for step in steps) >= _REGULAR * len(steps)
    times = [0.0]
    for before, step in zip(known, steps, strict=False):
        missing = round(step / usual) - 1 if regular and step > HOLE_STEPS * usual else 0
        missing = min(missing, _MOST_PACKETS)
        times += [before - known[0] + step * (number + 1) / (missing + 1) for number in range(missing + 1)]
    if len(times) > len(known) or rate <= 0:  # the container's rate counts only the frames that are there
        rate = (len(times) - 1) / times[-1]
    return times, rate


class ShortSampler(Sampler):
    """Takes the first frame at or after each chosen time. Frames that are missing leave out their slots."""

    def __init__(self, recording: ShortRecording) -> None:
        self._times = recording.times
        super().__init__(1.0, nominal_rate=recording.rate)

    def restart(self, *, nominal_rate: float | None = None) -> None:
        """The recording begins."""
        super().restart(nominal_rate=nominal_rate)
        self._next_slot, self._count = 0, 0

    def admit(self, pts_s: float | None) -> Chosen | None:
        """The slot that this frame is taken for, or None. pts_s: seconds since the first frame; None: by the frames counted so far."""
        number, self._count = self._count, self._count + 1
        if pts_s is None or not abs(pts_s) < IMPOSSIBLE_S:
            pts_s = number * self._step()
        slot = self._slot_at(pts_s)
        if slot < self._next_slot:
            return None
        self._next_slot = slot + 1
        return Chosen(slot, pts_s)

    def is_same_slot(self, pts_s: float) -> bool:
        """Whether a frame at this time lies in the slot of the frame that was chosen last."""
        return self._slot_at(pts_s) == self._next_slot - 1

    def _slot_at(self, time: float) -> int:
        return bisect_right(self._times, time + TOLERANCE_S) - 1
