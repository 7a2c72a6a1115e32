"""What one camera's ingest is configured with."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from afterview.memory.base.settings import CameraSettings
from afterview.memory.plans.published_sampling import ShortVideos
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.recordings.archive import ArchivedFile

if TYPE_CHECKING:  # built models are handed in: importing this module must not load torch
    from afterview.model.checkpoint.models import Encoders


@dataclass(frozen=True)
class IngestConfig:
    """Configuration for recording one source."""

    address: SourceAddress
    fps: float = 1.0
    live: bool = True
    speed: float = math.inf  # of a recording: 1 is its own pace, inf as fast as possible
    start: float | None = None  # Unix time of a recording's first frame
    short_videos: ShortVideos | None = None  # how a short recording is sampled; None: as the model's preset says
    files: tuple[ArchivedFile, ...] = ()  # recordings, in order of time; `address` then stands for all of them
    keep_trying: bool = False
    image_size: int | None = None  # pixels, short side of stored images; None: the camera's setting
    reuse_bound: float | None = (
        None  # how far a frame may differ from one whose features it reuses (stream.ingest.reuse); None: off
    )
    sync_every_s: float = 0.0  # how long a frame may wait to be made durable; 0: not at all
    source: SourceConfig = field(default_factory=SourceConfig)


@dataclass
class Controls:
    """What may change while a camera is recorded. The write thread replaces each value as a whole; decode reads them for every frame."""

    settings: CameraSettings
    encoders: "Encoders"
