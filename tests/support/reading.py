"""Sources read to their end for tests: the events, the frames among them, and which picture of the test clip a frame shows."""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from afterview.stream.source.address.address import parse_source
from afterview.stream.source.backoff import BackoffConfig
from afterview.stream.source.reader import Event, Frame, SourceConfig, read_events
from tests.support.clips import picture

FAST = SourceConfig(open_timeout_s=3, read_timeout_s=1, backoff=BackoffConfig(first_s=0.01, max_s=0.02))


def read(source: str | Path, **options: Any) -> list[Event]:
    """All events of a source that ends."""
    return list(read_events(parse_source(str(source)), FAST, stop=threading.Event(), **options))


def frames_of(events: list[Event]) -> list[Frame]:
    return [event for event in events if isinstance(event, Frame)]


def nearest(frame: Frame, count: int) -> int:
    """Which picture of the test clip a decoded frame shows."""
    rgb = frame.picture.rgb().astype(int)
    size = {"width": rgb.shape[1], "height": rgb.shape[0]}
    return int(np.argmin([np.abs(rgb - picture(number, **size)).mean() for number in range(count)]))


def open_files() -> set[str]:
    """Paths that this process has open."""
    return {
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{fd}")
    }


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now
