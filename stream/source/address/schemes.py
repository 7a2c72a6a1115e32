"""What can stand before the colon of an address: the kinds that are read, and why others are not, with the remedy."""

from typing import Literal

Kind = Literal["file", "rtsp", "hls", "http", "network", "device", "pattern", "sdp"]


class Unreadable(str):
    """Why such an address cannot be read, and what to do instead."""

    __slots__ = ()


_RELAY = "let MediaMTX, go2rtc or ffmpeg turn it into RTSP, and watch that"
_GO2RTC = "that is go2rtc's notation; give the address behind it, or what go2rtc makes of it (rtsp://HOST:8554/NAME)"
_WEBRTC = Unreadable(
    f"WebRTC is not read; MediaMTX and go2rtc offer the same stream as RTSP (rtsp://HOST:8554/NAME); otherwise {_RELAY}"
)
_ONVIF = Unreadable(
    "ONVIF names a camera, not its stream; `onvif-cli`, ONVIF Device Manager or go2rtc show its RTSP address: watch that"
)
_TAP = Unreadable(
    "standard input and pipes cannot be opened again after a failure; send the stream over TCP (COMMAND | nc 127.0.0.1 5000) and watch "
    "'tcp://127.0.0.1:5000?listen', or write it to a file and replay that"
)
_FILES = Unreadable("files of a server are not read; copy or mount them, and replay them")
STDIN = ("-", "/dev/stdin")

_READ: dict[str, Kind] = {
    "rtsp": "rtsp", "rtsps": "rtsp",
    "http": "http", "https": "http",
    "rtmp": "network", "rtmps": "network", "rtmpt": "network", "srt": "network", "udp": "network", "tcp": "network",
    "rtp": "network", "mmsh": "network", "mmst": "network", "unix": "network",
}  # fmt: skip
_BUILT_IN = ("alsa", "bubble", "doorbird", "dvrip", "echo", "eseecloud", "exec", "expr", "flussonic", "gopro", "hass", "homekit", "isapi",
             "ivideon", "kasa", "multitrans", "nest", "ring", "roborock", "tapo", "tuya", "v4l2", "vigi", "wyze", "xiaomi", "yandex",
             "ffmpeg")  # fmt: skip

SCHEMES: dict[str, Kind | Unreadable] = {
    **_READ,
    **{scheme: Unreadable(_GO2RTC) for scheme in _BUILT_IN},
    **dict.fromkeys(("webrtc", "whep", "wheps", "whip", "webtorrent"), _WEBRTC),
    **dict.fromkeys(("ws", "wss"), Unreadable(f"WebSocket is not read; {_RELAY}")),
    **dict.fromkeys(("rist", "sctp", "rtmpe", "rtmpte", "ndi"), Unreadable(f"this is not read; {_RELAY}")),
    **dict.fromkeys(("ftp", "ftps", "sftp", "smb", "nfs", "s3", "gs"), _FILES),
    **dict.fromkeys(("pipe", "fd"), _TAP),
    "rtspx": Unreadable("that is go2rtc's and UniFi's notation for RTSP over TLS; write rtsps://"),
    "rtspt": Unreadable("write rtsp:// (TCP is the default)"),
    "rtspu": Unreadable("write rtsp://, and --udp"),
    "onvif": _ONVIF,
    "mms": Unreadable("write mmsh:// or mmst://"),
}
"""The one table of schemes."""

NO_SRT = f"this build of FFmpeg lacks SRT; {_RELAY}, for example: ffmpeg -i 'srt://HOST:PORT' -c copy -f rtsp rtsp://127.0.0.1:8554/NAME"


def refusal(text: str, scheme: str) -> str:
    """Why an address of this scheme is not read, and what to do. Of go2rtc's `ffmpeg:` the address behind it is taken out."""
    found = SCHEMES[scheme]
    assert isinstance(found, Unreadable), "a scheme that is not read"
    behind = text.partition(":")[2].partition("#")[0] if scheme == "ffmpeg" else ""
    return found + (f"; here: {behind}" if "://" in behind else "")
