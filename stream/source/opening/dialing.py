"""How FFmpeg is told to open a source: the address that it gets, the format if it must not be guessed, and its options."""

from dataclasses import dataclass, field

from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.opening.first_picture import WITHOUT_ANALYSIS, key_frames_are_far

# Frames and microseconds that FFmpeg analyses while opening; its default of 20 frames takes 3 s over RTSP at 10 frames per second.
_QUICK_START = {"fpsprobesize": "3", "analyzeduration": "500000"}
# Segments may be called anything (.jpg, or nothing): local files are out of reach of a playlist from a server. With a connection that is
# kept, FFmpeg waits in vain for a second range of one file (#EXT-X-BYTERANGE).
_HLS = {
    "allowed_extensions": "ALL",
    "allowed_segment_extensions": "ALL",
    "extension_picky": "0",
    "http_persistent": "0",
}
_SDP_NEEDS = "file,udp,rtp"  # FFmpeg lets a file name no network protocols unless it is told to
_TRANSPORTS = {"tcp": "tcp", "udp": "udp", "http": "http", "multicast": "udp_multicast"}


@dataclass(frozen=True)
class Dialing:
    """What `av.open` gets. url: may hold credentials."""

    url: str = field(repr=False)
    format: str | None
    options: dict[str, str]


def dialing(address: SourceAddress, config: SourceConfig) -> Dialing:
    """How to open `address`."""
    options: dict[str, str] = {}
    format_name: str | None = None
    match address.kind:
        case "rtsp":
            # Sound is not asked for: with it FFmpeg would bend picture times onto RTCP's clock in mid-stream.
            options = {"rtsp_transport": _rtsp_transport(address, config), "allowed_media_types": "video"}
            options |= _QUICK_START
        case "network" if address.url.startswith("tcp:"):
            options = dict(_QUICK_START)  # raw H.264 at 10 frames per second: 3 s for 12
        case "hls" | "http":
            options = {"live_start_index": "-1", **_QUICK_START, **_HLS}  # the newest segment, not a burst of old ones
        case "sdp":
            format_name, options = (
                "sdp",
                {"protocol_whitelist": _SDP_NEEDS, "allowed_media_types": "video", **_QUICK_START},
            )
        case "device":
            format_name = "v4l2"
        case "pattern":
            format_name = "lavfi"
    if key_frames_are_far(address.url):
        options |= WITHOUT_ANALYSIS
    return Dialing(address.url, format_name, options)


def _rtsp_transport(address: SourceAddress, config: SourceConfig) -> str:
    if config.rtsp_transport == "http" and address.url.startswith("rtsps:"):
        return "https"
    return _TRANSPORTS[config.rtsp_transport]
