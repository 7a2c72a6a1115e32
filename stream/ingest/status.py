"""State and counters of a camera while it is recorded, and an immutable snapshot of them."""

import math
import statistics
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from afterview.stream.ingest.preprocess import DEFAULT_IMAGE_SIZE, ImageCost
from afterview.stream.ingest.upload import UploadProgress
from afterview.stream.source.events import Lacking
from afterview.stream.source.offered import OfferedStream

State = Literal["starting", "online", "offline", "paused", "disk full", "ended", "failed"]


@dataclass(frozen=True)
class ImageStatus:
    """What stored images take. size: short side in pixels, of larger pictures. bytes: mean of one image; NaN before the first."""

    size: int
    bytes: float
    default_bytes: float  # of the same image at DEFAULT_IMAGE_SIZE
    fps: float

    @classmethod
    def of(cls, cost: ImageCost, fps: float) -> "ImageStatus":
        """At this moment."""
        return cls(cost.size, cost.mean_bytes(), cost.default_mean_bytes(), fps)

    @property
    def gigabytes_per_day(self) -> float:
        """1e9 bytes of images in a day without gaps."""
        return self.bytes * self.fps * 86400 / 1e9

    @property
    def default_gigabytes_per_day(self) -> float:
        """The same at the default size."""
        return self.default_bytes * self.fps * 86400 / 1e9

    def to_dict(self) -> dict[str, Any]:
        """As JSON; null before the first image."""
        known = not math.isnan(self.bytes)
        return {
            "size": self.size,
            "gigabytes_per_day": round(self.gigabytes_per_day, 3) if known else None,
            "default_size": DEFAULT_IMAGE_SIZE,
            "default_gigabytes_per_day": round(self.default_gigabytes_per_day, 3) if known else None,
        }


@dataclass(frozen=True)
class CameraStatus:
    """One camera at one moment. Counters are of this session, except `frames` and `last_time`: of the camera's whole memory.

    pictures_damaged: frames whose picture is damaged; pictures_replaced: slots in which a whole one was taken instead.
    detail: for people. cause: why the camera failed. clock: why the source's own clock is not used. upload: None without a store.
    offered: the source's video streams, empty before it was opened. picture_note: what is not shown as the source says.
    progress: of an archive, which of its files is read. short_clips: clips that ended before they had all their frames.
    features_reused: frames that were not encoded because they hardly differ from one before them.
    median_latency_s: from arrival to durable, of the latest ten minutes; lag_s: of the newest frame, or of the first one of
    its clip. NaN before the first frame.
    """

    camera: str
    state: State
    detail: str
    cause: str | None
    recorded: int
    frames: int
    dropped: int
    reconnects: int
    last_time: float | None
    median_latency_s: float
    lag_s: float
    clock: str | None
    upload: UploadProgress | None
    images: ImageStatus
    offered: tuple[OfferedStream, ...] = ()
    pictures_damaged: int = 0
    pictures_replaced: int = 0
    picture_note: str | None = None
    progress: str = ""
    short_clips: int = 0
    features_reused: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "camera": self.camera,
            "state": self.state,
            "cause": self.cause,
            "recorded": self.recorded,
            "frames": self.frames,
            "dropped": self.dropped,
            "reconnects": self.reconnects,
            "pictures_damaged": self.pictures_damaged,
            "pictures_replaced": self.pictures_replaced,
            "short_clips": self.short_clips,
            "features_reused": self.features_reused,
            "last_time": self.last_time,
            "median_latency_s": None if math.isnan(self.median_latency_s) else round(self.median_latency_s, 4),
            "lag_s": None if math.isnan(self.lag_s) else round(self.lag_s, 4),
            "detail": self.detail,
            "clock": self.clock,
            "store": self.upload.to_dict() if self.upload else None,
            "images": self.images.to_dict(),
            "picture_note": self.picture_note,
            "video_streams": [stream.to_dict() for stream in self.offered],
        }


@dataclass
class IngestStats:
    """Counters and state of one camera since its session began. Each counter is written by one thread.

    latencies: seconds from arrival to durable, of the latest frames. on_change is called in the thread that changed the state.
    """

    sampled: int = 0
    recorded: int = 0
    reconnects: int = 0
    damaged: int = 0  # packets that could not be decoded, of the present connection
    lacking: Lacking = field(default_factory=Lacking)  # of the recording that ended last
    pictures_damaged: int = 0  # chosen frames whose picture is damaged (stream.source.decoding.damage)
    pictures_replaced: int = 0  # slots whose first picture was damaged, and in which a whole one was taken
    features_reused: int = 0  # frames that took those of a frame before them (stream.ingest.reuse)
    short_clips: int = 0  # clips of merged frames that were closed early (stream.ingest.clips)
    last_time: float | None = None
    progress: str = ""  # of an archive: which of its files is read
    offered: tuple[OfferedStream, ...] = ()  # the source's video streams
    picture_note: str = ""  # what is not shown as the source says
    clock: str = ""  # why the source's own clock is not used; empty again once it is
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=600))
    on_change: Callable[[], None] = lambda: None
    _source: tuple[State, str] = ("starting", "")  # set by the decode thread
    _disk_full: str | None = None  # set by the write thread
    _end: tuple[State, str] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def state(self) -> State:
        """The end, else a full disk, else the source's state."""
        return self._now()[0]

    @property
    def detail(self) -> str:
        """The reason of the state, for people."""
        return self._now()[1]

    def _now(self) -> tuple[State, str]:
        with self._lock:
            if self._end is not None:
                return self._end
            return self._source if self._disk_full is None else ("disk full", self._disk_full)

    def set_source(self, state: State, detail: str = "") -> None:
        """The source is online, offline or paused."""
        with self._lock:
            before, self._source = self._source, (state, detail)
        if before != self._source:  # the files of an archive are alike
            self.on_change()

    def set_detail(self, detail: str, *, quiet: bool = False) -> None:
        """Something happened that leaves the source's state as it is. quiet: it is not worth a line in a log."""
        with self._lock:
            self._source = self._source[0], detail
        if not quiet:
            self.on_change()

    def set_disk_full(self, why: str | None) -> None:
        """The disk is full, or (None) no longer. Reported when that changes."""
        with self._lock:
            before, self._disk_full = self._disk_full, why
        if (before is None) != (why is None):
            self.on_change()

    def set_end(self, state: State, detail: str) -> None:
        """Terminal state: the camera ended or failed."""
        with self._lock:
            self._end = state, detail
        self.on_change()

    @property
    def source_state(self) -> State:
        """The source's state alone, whatever the disk does."""
        return self._source[0]

    @property
    def disk_full(self) -> bool:
        """Whether frames cannot be written at present."""
        return self._disk_full is not None

    def latest_latency(self) -> float:
        """Of the newest frame, seconds; NaN before the first frame."""
        return self.latencies[-1] if self.latencies else math.nan

    def median_latency(self) -> float:
        """Median of the latest latencies, seconds; NaN before the first frame."""
        return statistics.median(self.latencies) if self.latencies else math.nan
