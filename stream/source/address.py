"""Addresses of sources: which kind of source a text names. Looks at the text and at the file system; opens nothing.

front.mp4, file:///srv/front.mp4        a recording
rtsp://user:password@host:554/path      a camera or a restream (rtsps, too)
https://host/live/index.m3u8            HLS
http://host/video.mjpg                  MJPEG or progressive video over HTTP
rtmp, srt, udp, tcp, rtp ://...         other live transports that FFmpeg speaks
/dev/video0                             a webcam
lavfi:testsrc2=size=640x360:rate=25     FFmpeg's own test pictures, in real time: a live source without hardware
"""

import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from afterview.stream.errors import BadUrl, NotAVideo, SourceNotFound
from afterview.stream.source.redact import redact, redact_address

Kind = Literal["file", "rtsp", "hls", "http", "network", "device", "pattern"]

_SCHEMES: dict[str, Kind] = {
    "rtsp": "rtsp", "rtsps": "rtsp",
    "http": "http", "https": "http",
    "rtmp": "network", "rtmps": "network", "srt": "network", "udp": "network", "tcp": "network", "rtp": "network",
}  # fmt: skip
_LOOKS_LIKE_URL = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]+):(?P<slashes>/*)")
_PATTERN_PREFIX = "lavfi:"


@dataclass(frozen=True)
class SourceAddress:
    """A source as `av.open` takes it. `url` may hold credentials and is left out of the repr; print `redacted`.

    live: end-of-file is a failure to recover from, not the end. (An HTTP or HLS recording is recognised when it is opened.)
    suggested_name: a camera name for it, without credentials.
    """

    kind: Kind
    url: str = field(repr=False)
    redacted: str
    live: bool
    suggested_name: str

    def __str__(self) -> str:
        return self.redacted


def parse_source(text: str) -> SourceAddress:
    """Recognise `text`. Raises BadUrl for a malformed address, SourceNotFound or NotAVideo for a wrong file or device."""
    text = text.strip()
    if not text:
        raise BadUrl(
            "the source is empty; give a file, a URL such as rtsp://host/path, or a device such as /dev/video0"
        )
    if text.startswith(_PATTERN_PREFIX):
        return _pattern(text)
    if text.lower().startswith("file://"):
        return _file(unquote(urlsplit(text).path))
    match = _LOOKS_LIKE_URL.match(text)
    if match and (match["slashes"] or match["scheme"].lower() in _SCHEMES):
        return _url(text)
    if text.startswith("/dev/"):
        return _device(text)
    return _file(text)


def _url(text: str) -> SourceAddress:
    shown = redact_address(text)
    scheme = text.partition(":")[0].lower()
    if scheme not in _SCHEMES:
        raise BadUrl(f"{shown}: cannot read '{scheme}' addresses; known are file, {', '.join(_SCHEMES)}")
    if not text[len(scheme) :].startswith("://"):
        raise BadUrl(f"{shown}: malformed address; write {scheme}://host/path")
    if re.search(r"[\s\x00-\x1f\x7f]", text):
        raise BadUrl(f"{shown}: malformed address: it holds white space or control characters; percent-encode them")
    parts = _split(text, shown)
    kind = _SCHEMES[scheme]
    if kind == "http" and parts.path.lower().endswith((".m3u8", ".m3u")):
        kind = "hls"
    url = scheme + text[len(scheme) :]
    return SourceAddress(kind, url, shown, live=True, suggested_name=_name_of_url(parts))


def _split(text: str, shown: str) -> SplitResult:
    """The parts of a URL with a host and a valid port. Raises BadUrl, which never quotes the parts: they may be credentials."""
    problem = ""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        problem = "the host or the port is not valid (percent-encode '@', ':', '/', '?' and '#' in a password)"
    else:
        if not host and not (parts.scheme in ("udp", "rtp", "srt") and port):
            problem = "there is no host"
        elif port == 0:
            problem = "port 0 cannot be connected to"
    if problem:
        raise BadUrl(f"{shown}: malformed address: {problem}")
    return parts


def _name_of_url(parts: SplitResult) -> str:
    """The last part of the path and the host: 'front-door 10.0.0.7' is a better name than 'stream'."""
    stems = [Path(unquote(piece)).stem for piece in parts.path.split("/") if piece]
    tail = stems[-1] if stems else ""
    host = parts.hostname or parts.scheme
    return redact(f"{tail} {host}" if tail and "@" not in tail else host)


def _pattern(text: str) -> SourceAddress:
    graph = text.removeprefix(_PATTERN_PREFIX).strip()
    if not graph:
        raise BadUrl("lavfi: no filter graph given; for example lavfi:testsrc2=size=640x360:rate=25")
    shown = _PATTERN_PREFIX + redact_address(graph)
    return SourceAddress("pattern", graph, shown, live=True, suggested_name=re.split(r"[=,;]", graph)[0])


def _device(path: str) -> SourceAddress:
    device = Path(path)
    if not device.exists():
        raise SourceNotFound(f"{path}: no such device; `ls /dev/video*` lists the cameras of this machine")
    if not stat.S_ISCHR(device.stat().st_mode):
        raise NotAVideo(f"{path}: not a camera device")
    return SourceAddress("device", path, path, live=True, suggested_name=device.name)


def _file(text: str) -> SourceAddress:
    path, shown = Path(text), redact(text)
    found, is_file, size = False, False, 0
    try:
        path = path.expanduser()
        found, is_file = path.exists(), path.is_file()
        size = path.stat().st_size if is_file else 0
    except (OSError, ValueError, RuntimeError):
        found = False  # a name too long, a NUL in it, a folder that may not be searched, an unknown ~user
    if not found:
        raise SourceNotFound(f"{redact_address(text)}: no such file; a live source needs its scheme, such as rtsp://")
    if not is_file:
        raise NotAVideo(f"{shown}: is a folder or a special file; give one video file")
    if size == 0:
        raise NotAVideo(f"{shown}: the file is empty")
    return SourceAddress("file", str(path), shown, live=False, suggested_name=path.stem)
