"""The size of a stream's pictures before one was decoded: FFmpeg does not always look at the parameter sets of an RTSP description."""

import av

from afterview.stream.source.decoding.slice_heads import read_sequence

_START = b"\0\0\1"
_SEQUENCE = 7  # NAL unit of H.264


def stated_size(stream: av.VideoStream) -> tuple[int, int]:
    """Width and height in pixels, as coded; 0, 0 if nothing states them."""
    context = stream.codec_context
    if context is None:
        return 0, 0
    sets = context.extradata
    if context.width or not sets or _START not in sets:
        return context.width, context.height
    if context.name == "hevc":
        other = av.VideoCodecContext.create("hevc", "r")
        other.extradata = sets
        try:
            other.open()  # reads the parameter sets
        except (av.FFmpegError, ValueError):
            return 0, 0
        return other.width, other.height
    if context.name == "h264":
        for unit in sets.split(_START)[1:]:
            if unit and unit[0] & 31 == _SEQUENCE:
                sequence = read_sequence(unit.rstrip(b"\0"))
                return sequence.width, sequence.height
    return 0, 0
