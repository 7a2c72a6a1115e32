"""Addresses of sources: which kind of source a text names. Looks at the text and at the file system; opens nothing.

front.mp4, file:///srv/front.mp4        a recording (16:38:41.mp4, too: what exists as a file is a path)
rtsp://user:password@host:554/path      a camera or a restream (rtsps, too)
https://host/live/index.m3u8            HLS
http://host/video.mjpg                  MJPEG or progressive video over HTTP
rtmp, srt, udp, tcp, rtp ://...         other live transports that FFmpeg speaks (stream.source.address.schemes)
camera.sdp                              the description of an RTP stream
/dev/video0, 0                          a webcam (a file named 0 comes first, and is shown as ./0)
lavfi:testsrc2=size=640x360:rate=25     FFmpeg's own test pictures, in real time: a live source without hardware

Each may have variables: rtsp://user:{AFTERVIEW_CAM1_PASSWORD}@host/path (stream.source.address.variables).
"""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from afterview.stream.errors import BadUrl, NotAVideo, SourceNotFound
from afterview.stream.source.address.redact import printable, redact, redact_address
from afterview.stream.source.address.schemes import SCHEMES, STDIN, Kind, Unreadable, refusal
from afterview.stream.source.address.variables import fill_variables

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


def parse_source(text: str, environment: Mapping[str, str] = os.environ) -> SourceAddress:
    """Recognise `text`, whose variables are replaced. What is shown of the address keeps them, so it never holds their values.

    Raises BadUrl for a malformed address or a variable that is not set, SourceNotFound or NotAVideo for a wrong file or device.
    """
    text = text.strip()
    if not text:
        raise BadUrl(
            "the source is empty; give a file, a URL such as rtsp://host/path, or a device such as /dev/video0"
        )
    filled = fill_variables(text, environment)
    address = _recognise(filled.strip(), _show(text))
    if filled == text:
        return address
    name = _name_of_url(text) if "://" in text else Path(address.redacted).stem
    return replace(address, suggested_name=name.replace("{", "").replace("}", ""))


def _show(text: str) -> str:
    """An address for people, without its credentials."""
    prefix = _PATTERN_PREFIX if text.startswith(_PATTERN_PREFIX) else ""
    plain = unquote(urlsplit(text).path) if text.lower().startswith("file://") else text
    return prefix + printable(redact_address(plain.removeprefix(prefix)))


def _recognise(text: str, shown: str) -> SourceAddress:
    """shown: the address for people."""
    if text.startswith(_PATTERN_PREFIX):
        return _pattern(text, shown)
    if text.lower().startswith("file://"):
        text = unquote(urlsplit(text).path)
        return _recognise(text if text.startswith("/") else f"./{text}", shown)
    match = _LOOKS_LIKE_URL.match(text)
    if match and (match["slashes"] or (match["scheme"].lower() in SCHEMES and not _is_file(text))):
        return _url(text, shown)
    if text in STDIN:
        raise BadUrl(f"{shown}: {refusal(text, 'pipe')}")
    if text.startswith("/dev/"):
        return _device(text, shown)
    if text.isascii() and text.isdecimal():
        return (
            _file(f"./{text}", f"./{text}")
            if os.path.lexists(text)
            else _device(f"/dev/video{text}", f"/dev/video{text}")
        )
    address = _file(text, shown)
    return replace(address, kind="sdp", live=True) if text.lower().endswith(".sdp") else address


def _url(text: str, shown: str) -> SourceAddress:
    scheme = text.partition(":")[0].lower()
    kind = SCHEMES.get(scheme)
    if kind is None:
        known = ", ".join(name for name, kind in SCHEMES.items() if not isinstance(kind, Unreadable))
        raise BadUrl(f"{shown}: cannot read '{scheme}' addresses; known are file, {known}")
    if isinstance(kind, Unreadable):
        raise BadUrl(f"{shown}: {redact(refusal(text, scheme))}")
    if scheme == "unix":
        return SourceAddress(kind, text, shown, live=True, suggested_name=Path(text).stem)
    if not text[len(scheme) :].startswith("://"):
        raise BadUrl(f"{shown}: malformed address; write {scheme}://host/path")
    if re.search(r"[\s\x00-\x1f\x7f]", text):
        raise BadUrl(f"{shown}: malformed address: it holds white space or control characters; percent-encode them")
    parts = _split(text, shown)
    if kind == "http" and parts.path.lower().endswith((".m3u8", ".m3u")):
        kind = "hls"
    url = scheme + text[len(scheme) :]
    return SourceAddress(kind, url, shown, live=True, suggested_name=_name_of_url(text))


def _split(text: str, shown: str) -> SplitResult:
    """The parts of a URL with a host and a valid port. Raises BadUrl, which never quotes the parts: they may be credentials."""
    problem = ""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        problem = "the host or the port is not valid (percent-encode '@', ':', '/', '?' and '#' in a password)"
    else:
        if not host and not (port and (parts.scheme in ("udp", "rtp", "srt") or "listen" in parts.query)):
            problem = "there is no host"
        elif port == 0:
            problem = "port 0 cannot be connected to"
    if problem:
        raise BadUrl(f"{shown}: malformed address: {problem}")
    return parts


def _name_of_url(text: str) -> str:
    """The last part of the path and the host: 'front-door 10.0.0.7' is a better name than 'stream'."""
    parts = urlsplit(text)
    stems = [Path(unquote(piece)).stem for piece in parts.path.split("/") if piece]
    tail = stems[-1] if stems else ""
    host = parts.hostname or parts.scheme
    return redact(f"{tail} {host}" if tail and "@" not in tail else host)


def _pattern(text: str, shown: str) -> SourceAddress:
    graph = text.removeprefix(_PATTERN_PREFIX).strip()
    if not graph:
        raise BadUrl("lavfi: no filter graph given; for example lavfi:testsrc2=size=640x360:rate=25")
    return SourceAddress("pattern", graph, shown, live=True, suggested_name=re.split(r"[=,;]", graph)[0])


def _device(path: str, shown: str) -> SourceAddress:
    device = Path(path)
    if not device.exists():
        raise SourceNotFound(f"{shown}: no such device; `ls /dev/video*` lists the cameras of this machine")
    if not stat.S_ISCHR(device.stat().st_mode):
        raise NotAVideo(f"{shown}: not a camera device")
    return SourceAddress("device", path, shown, live=True, suggested_name=device.name)


def file_address(path: str) -> SourceAddress:
    """The file at a path, which is taken as it is. Raises SourceNotFound, NotAVideo."""
    return _file(path, printable(path))


def _file(text: str, shown: str) -> SourceAddress:
    path = Path(text)
    found, is_file, size = False, False, 0
    try:
        path = path.expanduser()
        found, is_file = path.exists(), path.is_file()
        size = path.stat().st_size if is_file else 0
    except (OSError, ValueError, RuntimeError):
        found = False  # a name too long, a NUL in it, a folder that may not be searched, an unknown ~user
    if not found:
        raise SourceNotFound(f"{shown}: no such file; a live source needs its scheme, such as rtsp://")
    if not is_file:
        raise NotAVideo(f"{shown}: is a folder or a special file; `afterview replay` records the files in a folder")
    if size == 0:
        raise NotAVideo(f"{shown}: the file is empty")
    # FFmpeg takes what stands before a colon for a protocol, unless a slash comes first.
    url = f"./{path}" if ":" in str(path) and not path.is_absolute() else str(path)
    return SourceAddress("file", url, shown, live=False, suggested_name=path.stem)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False
