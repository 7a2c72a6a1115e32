"""The choice of a source's video stream, of those that it offers.

The stream that the source marks as its default is taken, otherwise the largest. A picture that does not move (a cover, a thumbnail)
is taken only if nothing moves. FFmpeg's muxer marks the first video of an MP4 as enabled if nobody chose one, so that is no mark.

The streams that are not used are not demuxed, and not fetched where they come apart: HLS and DASH fetch the chosen variant only once the
source is open (FFmpeg looks at the first segment of each). An RTSP server sends all video tracks of its description, because FFmpeg asks
for them before it knows their sizes: the packets of the others are dropped undecoded.
"""

import math
import re
from collections.abc import Callable

import av
from av.stream import Discard, Disposition

from afterview.stream.errors import NotAVideo, SourceError
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.failures.hls_answer import explain_hls
from afterview.stream.source.failures.refusals import no_video_described
from afterview.stream.source.offered import OfferedStream, list_streams
from afterview.stream.source.opening.stated_size import stated_size

_TEXT_CODECS = {"ansi", "bintext", "xbin", "idf"}  # FFmpeg draws any text file as a picture of a terminal
_STILL_CODECS = {"mjpeg", "png", "bmp", "webp", "gif", "tiff"}  # of thumbnails
_THUMBNAIL_RATE = 1.0  # frames per second at most, and the video has at least as many times more:
_TIMES_FASTER = 4
_MOST_PACKETS = 500  # of a file that are read to see which of its streams move
_APART = {"hls", "dash"}  # formats in which every stream has a transport of its own
_DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)$")  # as Matroska states it
_ONE_PICTURE = 1.5  # a stream that states to be shorter than so many pictures has one


def choose_stream(
    container: av.container.InputContainer,
    address: SourceAddress,
    number: int | None,
    again: Callable[[], av.container.InputContainer],
) -> tuple[av.VideoStream, tuple[OfferedStream, ...]]:
    """The stream to record, and all that the source offers. number: the one that was asked for; None: the best.

    again: opens the source once more. It is called for a file with several streams, to see which of them move. Raises NotAVideo.
    """
    streams = list(container.streams.video)
    unusable = {stream.index: why for stream in streams if (why := _unusable(stream))}
    usable = [stream for stream in streams if stream.index not in unusable]
    if number is None and not usable:
        raise _no_video(container, address, set(unusable.values()))
    still = {**unusable, **_stills(usable, address, again)}
    chosen = None
    if number is None:
        chosen = _best([stream for stream in usable if stream.index not in still] or usable, container)
    elif number < len(streams) and streams[number] in usable:
        chosen = streams[number]
    offered = tuple(
        OfferedStream(
            place, stream.codec_context.name if stream.codec_context else "unknown", *stated_size(stream), stream is chosen,
            still.get(stream.index, ""),
        )
        for place, stream in enumerate(streams)
    )  # fmt: skip
    if chosen is None:
        raise NotAVideo(f"{address.redacted}: video stream {number} cannot be recorded; it has {list_streams(offered)}")
    return chosen, offered


def discard_others(container: av.container.InputContainer, chosen: av.VideoStream, *, hear: bool) -> None:
    """Neither demux nor fetch what is not used. hear: sound that shares the transport still comes, and shows that the source lives."""
    hear = hear and container.format.name not in _APART
    for stream in container.streams:
        if stream.index != chosen.index and not (hear and stream.type == "audio"):
            stream.discard = Discard.all


def _unusable(stream: av.VideoStream) -> str:
    """Why a stream cannot be recorded; empty if it can."""
    if stream.codec_context is None:
        return "no decoder"
    if stream.disposition & Disposition.attached_pic:
        return "cover picture"
    return "text" if stream.codec_context.name in _TEXT_CODECS else ""


def _no_video(container: av.container.InputContainer, address: SourceAddress, why: set[str]) -> SourceError:
    if address.kind == "hls" and len(container.streams) == 0 and (cause := explain_hls(address)):
        return cause
    if address.kind == "rtsp" and len(container.streams) == 0:
        return no_video_described(address)
    if "no decoder" in why:
        remedy = "set the camera to H.264 or H.265" if address.live else "convert it to H.264"
        return NotAVideo(f"{address.redacted}: no decoder for its video; {remedy}")
    found = "no stream at all" if len(container.streams) == 0 else "only sound or text"
    found = "only a cover picture" if "cover picture" in why else found
    return NotAVideo(f"{address.redacted}: holds no video ({found}); give a file or stream with a video track")


def _stills(
    streams: list[av.VideoStream], address: SourceAddress, again: Callable[[], av.container.InputContainer]
) -> dict[int, str]:
    """Why streams do not move, by their index."""
    if len(streams) < 2:
        return {}
    rates = {stream.index: float(stream.average_rate or 0) for stream in streams}
    counts: dict[int, int] = {}
    if address.kind == "file":
        times = _first_times(again, streams)
        counts = {index: len(some) for index, some in times.items()}
        rates |= {
            index: 1 / (some[-1] - some[0]) for index, some in times.items() if len(some) > 1 and some[-1] > some[0]
        }
    fastest = max(rates.values())
    reasons: dict[int, str] = {}
    for stream in streams:
        single = counts[stream.index] < 2 and stream.frames < 2 if counts else _states_one_picture(stream)
        slow = 0 < rates[stream.index] <= min(_THUMBNAIL_RATE, fastest / _TIMES_FASTER)
        if single or stream.disposition & Disposition.still_image:
            reasons[stream.index] = "still picture"
        elif stream.disposition & Disposition.timed_thumbnails or (slow and stream.codec_context.name in _STILL_CODECS):
            reasons[stream.index] = "thumbnails"
    return reasons


def _states_one_picture(stream: av.VideoStream) -> bool:
    """Whether the container says that a stream has no more than one picture."""
    if stream.frames:
        return stream.frames == 1
    stated = next((text for key, text in stream.metadata.items() if key.startswith("NUMBER_OF_FRAMES")), "")
    length_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
    if length_s is None and (match := _DURATION.match(stream.metadata.get("DURATION", ""))):
        length_s = 3600 * float(match[1]) + 60 * float(match[2]) + float(match[3])
    return stated == "1" or (length_s is not None and length_s * float(stream.average_rate or 10) < _ONE_PICTURE)


def _first_times(
    again: Callable[[], av.container.InputContainer], streams: list[av.VideoStream]
) -> dict[int, list[float]]:
    """Decoding times in seconds of the first packet of each stream, and of the second, if it has one; by the stream's index."""
    times: dict[int, list[float]] = {stream.index: [] for stream in streams}
    with again() as container:
        wanted = [container.streams[index] for index in times if index < len(container.streams)]
        try:
            for count, packet in enumerate(container.demux(wanted)):
                some = times[packet.stream_index]
                if packet.size and len(some) < 2:
                    some.append(float((packet.dts or 0) * packet.time_base))
                if count > _MOST_PACKETS or all(len(some) > 1 for some in times.values()):
                    break
        except (av.FFmpegError, OSError):
            pass  # damaged there: what was read counts
    return times


def _best(streams: list[av.VideoStream], container: av.container.InputContainer) -> av.VideoStream:
    """The default, else the largest; of several such, the first."""
    defaults = [stream for stream in streams if stream.disposition & Disposition.default]
    first = container.streams.video[0]
    by_muxer = "Lavf" in container.metadata.get("encoder", "") and "mp4" in container.format.name.split(",")
    if by_muxer and [stream.index for stream in defaults] == [first.index]:
        defaults = []
    return max(defaults or streams, key=lambda stream: math.prod(stated_size(stream)))
