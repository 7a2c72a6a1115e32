"""Opens sources, and describes what the container states about its video.

FFmpeg's own log stays off, as PyAV leaves it by default; failures are reported by errors, redacted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import av

from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.clocks.reference_clock import DAY_S, EARLIEST
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.decoding.hardware import accelerator, on_gpu_unknown
from afterview.stream.source.failures.failures import explain_opening, nothing_came
from afterview.stream.source.opening.dialing import dialing
from afterview.stream.source.opening.first_picture import forget_far, remember_far

_MAX_RATE = 1000  # frames per second; more is FFmpeg's guess from the time base of a stream that states no rate
_CONTINUOUS = {
    "rtsp",
    "sdp",
    "http",
    "network",
}  # kinds of addresses whose clients join anywhere between two key frames
_NO_TIMES = 0x0080  # AVFMT_NOTIMESTAMPS: a format of elementary streams (raw H.264, MJPEG, ...)
_WITHOUT_TIMES = {"image2pipe", "yuv4mpegpipe", "rawvideo"}  # these know no times either, though they have no such flag
_FRAGMENTED_BRANDS = ("iso5", "iso6", "cmf", "dash", "msdh")  # of MP4 that is written in fragments


@dataclass(frozen=True)
class About:
    """What the container states about its video.

    rate: frames per second. start_time: Unix seconds. duration_s: of the video alone. finite: it states a length.
    begins_s: where the whole recording begins, sound included, on the clock of its packets, seconds; None if unknown or video alone.
    rate_assumed: neither container nor video states a rate, and FFmpeg assumes one.
    """

    codec: str
    rate: float | None
    start_time: float | None
    duration_s: float | None
    finite: bool
    begins_s: float | None = None
    rate_assumed: bool = False


def open_container(
    address: SourceAddress, config: SourceConfig, monotonic: Callable[[], float]
) -> av.container.InputContainer:
    """Open what `address` names, within the open timeout. Raises SourceError, redacted."""
    began = monotonic()
    timeout = (config.open_timeout_s, config.read_timeout_s) if address.live else None

    def opened() -> av.container.InputContainer:
        how = dialing(address, config)
        return av.open(
            how.url,
            "r",
            format=how.format,
            options=how.options,
            timeout=timeout,
            metadata_errors="replace",
            hwaccel=accelerator(config.decode),
        )

    try:
        container = opened()
        if address.kind in _CONTINUOUS and monotonic() - began >= config.open_timeout_s:  # the analysis was cut short
            container.close()
            remember_far(address.url)
            again = monotonic()
            container = opened()
            if monotonic() - again >= config.open_timeout_s:  # not even one packet
                container.close()
                forget_far(address.url)
                raise nothing_came(address, config.open_timeout_s)
        return container
    except NotImplementedError:
        failure = on_gpu_unknown(address)
    except (av.FFmpegError, OSError, ValueError) as error:
        took_s = monotonic() - began
        failure = explain_opening(error, address, config.open_timeout_s, took_s=took_s, transport=config.rtsp_transport)
    raise failure  # outside the handler, so that no chained error carries the address with its credentials


def describe(container: av.container.InputContainer, stream: av.VideoStream, *, now: float) -> About:
    """What the container states about `stream`. now: Unix seconds; no recording can be newer."""
    own = stream.codec_context.framerate if has_no_times(container) else None  # else FFmpeg's 25 per second
    own = own if own and own <= _MAX_RATE else None
    rate = next((rate for rate in (own, stream.average_rate, stream.guessed_rate) if rate and rate <= _MAX_RATE), None)
    duration = None
    if stream.duration and stream.time_base:
        duration = float(stream.duration * stream.time_base)
    elif container.duration and len(container.streams) == 1:  # otherwise it may be the sound's, which can be longer
        duration = container.duration / 1e6
    return About(
        codec=stream.codec_context.name,
        rate=float(rate) if rate else None,
        start_time=_start_time({**stream.metadata, **container.metadata}, now),
        duration_s=duration,
        finite=container.duration is not None and not _endless_fragments(container, stream),
        rate_assumed=own is None and has_no_times(container),
        begins_s=None if container.start_time is None or len(container.streams) == 1 else container.start_time / 1e6,
    )


def has_no_times(container: av.container.InputContainer) -> bool:
    """Whether the container's format knows no times: FFmpeg invents them, from the nominal rate or from 25 frames per second."""
    name = container.format.name
    return bool(int(container.format.flags) & _NO_TIMES) or name in _WITHOUT_TIMES or name.endswith("_pipe")


def _endless_fragments(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """Whether this is fragmented MP4 of unknown size: FFmpeg then states the length of the first fragments as that of the whole."""
    if "mp4" not in container.format.name.split(",") or container.size > 0:
        return False
    brands = container.metadata.get("major_brand", "") + container.metadata.get("compatible_brands", "")
    return not stream.frames or any(brand in brands for brand in _FRAGMENTED_BRANDS)


def _start_time(metadata: dict[str, str], now: float) -> float | None:
    """Unix seconds of the recording's stated start; None if there is none, or if it lies before 1971 (an unset clock) or in the future."""
    for key in ("com.apple.quicktime.creationdate", "creation_time", "DATE_UTC"):
        try:
            seconds = datetime.fromisoformat(metadata[key]).timestamp()
        except (
            KeyError,
            ValueError,
            OverflowError,
        ):  # among them the first day of year 1, which does not exist in every zone
            continue
        if EARLIEST < seconds < now + DAY_S:
            return seconds
    return None
