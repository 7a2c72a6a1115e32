"""Opens a source once and closes it, so that a mistake shows before a model is loaded or a camera is created."""

import time
from collections.abc import Callable
from functools import partial

import av

from afterview.stream.errors import NotAVideo
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.failures.failures import explain_opening
from afterview.stream.source.open_source import sends_pictures
from afterview.stream.source.opening.choice import choose_stream
from afterview.stream.source.opening.first_picture import key_frames_are_far
from afterview.stream.source.opening.opening import open_container
from afterview.stream.source.recordings.animation import is_animated_webp

_STILL_FORMATS = ("image2", "_pipe")  # FFmpeg's formats of single pictures end in one of these
_MOST_PACKETS = (
    500  # of a recording that are read for its first picture; one that needs more is left to the recording itself
)


def probe(address: SourceAddress, config: SourceConfig, *, monotonic: Callable[[], float] = time.monotonic) -> str:
    """Raise the SourceError that recording from `address` would begin with, if there is one. Returns what is worth a note, or "".

    A sender behind tcp://, udp://, rtp://, srt:// or rtmp:// may serve one connection only, so these are left alone.
    """
    if address.kind == "file" and is_animated_webp(address.url):
        return ""
    if address.kind == "network":
        _require_srt(address, config)
        return ""
    if address.kind == "http" and sends_pictures(address, config):
        return ""  # its first picture may take long; the recording waits for it
    again = partial(open_container, address, config, monotonic)
    with again() as container:
        stream, _ = choose_stream(container, address, config.stream, again)
        if address.kind == "file":
            _require_video(container, stream, address)
        elif key_frames_are_far(address.url):
            return (
                f"{address.redacted}: data comes, but no key frame yet: recording waits {config.first_picture_timeout_s:g} s for it; set a "
                "shorter key frame interval (GOP) in the camera"
            )
    return ""


def _require_srt(address: SourceAddress, config: SourceConfig) -> None:
    """Raise BadUrl for SRT that FFmpeg lacks. Connects to nobody."""
    if not address.url.startswith("srt:"):
        return
    try:
        av.open("srt://127.0.0.1:0", timeout=0.5).close()
    except av.error.ProtocolNotFoundError as error:
        failure = explain_opening(error, address, config.open_timeout_s, took_s=0.0)
    except (av.FFmpegError, OSError, ValueError):
        return
    raise failure


def _require_video(container: av.container.InputContainer, stream: av.VideoStream, address: SourceAddress) -> None:
    """Raise NotAVideo for a recording without a picture, and for one still picture."""
    still = container.format.name.endswith(_STILL_FORMATS)
    pictures = packets = 0
    try:
        for packet in container.demux(stream):
            packets += 1
            pictures += len(_decode(stream, packet))
            if pictures > still or packets > _MOST_PACKETS:
                return
    except (av.FFmpegError, OSError):
        return  # damaged there: recording skips such places and counts them
    if not pictures:
        raise NotAVideo(f"{address.redacted}: not one picture in it can be decoded")
    raise NotAVideo(f"{address.redacted}: is a still picture, not a video")


def _decode(stream: av.VideoStream, packet: "av.Packet[av.VideoStream]") -> list[av.VideoFrame]:
    try:
        return list(stream.codec_context.decode(packet if packet.size else None))
    except (av.FFmpegError, ValueError):
        return []
