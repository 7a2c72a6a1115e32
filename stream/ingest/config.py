"""What one camera's ingest is told, and what it counts."""

import math
import statistics
from collections import deque
from dataclasses import dataclass, field

from afterview.stream.source.address import SourceAddress
from afterview.stream.source.opening import SourceConfig


@dataclass
class IngestStats:
    """Counters of one camera since its session began. Latencies: seconds from arrival to durable, of the latest frames."""

    state: str = "starting"  # starting | online | offline | paused | disk full | ended
    detail: str = ""
    sampled: int = 0
    recorded: int = 0
    reconnects: int = 0
    damaged: int = 0  # packets that could not be decoded, of the present connection
    last_time: float | None = None
    clock: str = ""  # why the source's own clock is not believed, where it is not
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=600))

    def median_latency(self) -> float:
        """Median of the latest latencies, seconds; NaN before the first frame."""
        return statistics.median(self.latencies) if self.latencies else math.nan


@dataclass(frozen=True)
class IngestConfig:
    """How one source is taken in."""

    address: SourceAddress
    fps: float = 1.0
    live: bool = True
    speed: float = math.inf  # of a recording: 1 is its own pace, inf as fast as it goes
    start: float | None = None  # Unix time of a recording's first frame
    keep_trying: bool = False
    sync_every_s: float = 0.0  # how long a frame may wait to be made durable; 0: not at all
    source: SourceConfig = field(default_factory=SourceConfig)
