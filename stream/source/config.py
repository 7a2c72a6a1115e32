"""How sources are opened and read."""

from typing import Literal

from pydantic import Field

from afterview.configs import Schema
from afterview.stream.source.backoff import BackoffConfig

Decode = Literal["needed", "full", "keyframes", "cuda"]
"""Which pictures are decoded: those that are remembered and what they need; all of them; key frames, which the sampling then follows;
those that are needed, on an NVIDIA GPU."""

Transport = Literal["tcp", "udp", "http", "multicast"]
"""How RTSP sends its pictures: within its own connection, or beside it."""


class SourceConfig(Schema):
    """How sources are opened and read. Times in seconds."""

    open_timeout_s: float = Field(default=10.0, gt=0)
    read_timeout_s: float = Field(default=10.0, gt=0)
    """Longest silence of a live source (stream.source.silence). For HLS: more than 1.5 segments, since each segment comes at once."""
    first_picture_timeout_s: float = Field(default=120.0, gt=0)
    """Longest wait for the first key frame of a connection while data comes: some cameras send one in half a minute."""
    rtsp_transport: Transport = "tcp"
    stream: int | None = Field(default=None, ge=0)
    """Which video stream to read, counted from 0 as the source lists them. None: its default, else the largest that moves."""
    decoder_threads: int = Field(default=1, ge=1, le=64)
    """1: cameras share the cores, and threads that decode ahead would delay every frame."""
    decode: Decode = "needed"
    poll_fps: float = Field(default=1.0, gt=0)
    """How often a snapshot URL is asked for a picture, per second: the sampling rate."""
    backoff: BackoffConfig = BackoffConfig()
