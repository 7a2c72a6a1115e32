"""The program date of HLS: when a broadcast's pictures were taken, by the broadcaster's own clock.

FFmpeg reads over EXT-X-PROGRAM-DATE-TIME, so the playlist is read a second time here, and the head of its newest dated segment for
the presentation time that the date belongs to (RFC 8216, section 4.3.2.6). Where no segment is dated, the newest one may date itself, by
a prft box. Whatever goes wrong, the date is unknown and frames go by their arrival: this never fails, prints nothing, and sends a
password to no other host than the one it was given for.

Threads: it runs in the decode thread. A timer's thread per connection cuts it off when the time is up.
"""

import base64
import http.client
import io
import socket
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

import av

from afterview.stream.source.fragments import FragmentReader
from afterview.stream.source.reference_clock import ReferenceClock

TIMEOUT_S = 2.0  # for all of it: the decode thread waits meanwhile
_LONGEST_PLAYLIST = 1 << 20  # bytes
_SEGMENT_HEAD = 1 << 18  # bytes; the first picture of 20 Mbit/s video, and what comes before it
_LONGEST_SEGMENT_S = 86_400.0  # seconds
_DATE, _INF, _MAP = "#EXT-X-PROGRAM-DATE-TIME:", "#EXTINF:", "#EXT-X-MAP:"
_BEYOND = ("#EXT-X-KEY:", "#EXT-X-BYTERANGE:")  # encrypted segments, and segments that are parts of files


class ProgramDate(NamedTuple):
    """The broadcaster's clock (Unix seconds) at a presentation time (seconds, as the packets say it)."""

    pts_s: float
    unix_s: float


@dataclass(frozen=True)
class Segment:
    """Of a media playlist. start: Unix seconds of its first picture, if known. head: URI of what goes before it (fragmented MP4)."""

    uri: str
    start: float | None
    head: str | None


def read_program_date(url: str, *, monotonic: Callable[[], float] = time.monotonic) -> ProgramDate | None:
    """The program date of the broadcast at `url`, a master or media playlist; None where it has none that can be used."""
    try:
        fetch = _Fetcher(url, monotonic() + TIMEOUT_S, monotonic)
        url, playlist = fetch.playlist(url)
        variant = first_variant(playlist)
        if variant is not None:
            url, playlist = fetch.playlist(urljoin(url, variant))
        segment = newest_segment(playlist)
        if segment is None or segment.start is segment.head is None:
            return None
        head = fetch.data(urljoin(url, segment.head), _SEGMENT_HEAD) if segment.head else b""
        return _date_of(head + fetch.data(urljoin(url, segment.uri), _SEGMENT_HEAD), segment.start)
    except (OSError, ValueError, OverflowError, http.client.HTTPException, av.FFmpegError):
        return None


def first_variant(playlist: str) -> str | None:
    """URI of a master playlist's first variant, whose times are those of all; None of a media playlist."""
    lines = iter(playlist.splitlines())
    for line in lines:
        if line.startswith("#EXT-X-STREAM-INF:"):
            return next((uri.strip() for uri in lines if uri.strip() and not uri.startswith("#")), None)
    return None


def newest_segment(playlist: str) -> Segment | None:
    """The last segment of a media playlist whose date is known: its own, or an earlier one's and the durations since. Else the last."""
    newest: Segment | None = None
    date: float | None = None  # of the next segment, as said before it
    going_on: float | None = None  # the same, as it follows from earlier segments
    duration, head = 0.0, None
    for line in map(str.strip, playlist.splitlines()):
        if line.startswith(_DATE):
            date = datetime.fromisoformat(line.removeprefix(_DATE).strip()).timestamp()
        elif line.startswith(_INF):
            duration = float(line.removeprefix(_INF).partition(",")[0])
            if not 0 <= duration <= _LONGEST_SEGMENT_S:  # NaN included
                raise ValueError("no segment is that long")
        elif line.startswith(_MAP):
            head = line.partition('URI="')[2].partition('"')[0] or None
        elif line == "#EXT-X-DISCONTINUITY":
            going_on = None
        elif line.startswith(_BEYOND) and "METHOD=NONE" not in line:
            return None
        elif line and not line.startswith("#"):
            start, date = going_on if date is None else date, None
            if start is not None or newest is None or newest.start is None:
                newest = Segment(line, start, head)
            going_on = None if start is None else start + duration
    return newest


def _date_of(data: bytes, start: float | None) -> ProgramDate | None:
    """The date of a segment's first picture: `start`, else what the prft box before it says."""
    with av.open(io.BytesIO(data), "r", metadata_errors="replace") as container:
        stream = container.streams.video[0] if container.streams.video else None
        for packet in container.demux(stream) if stream is not None else ():
            if packet.pts is None:
                continue
            unit = float(packet.time_base)
            if start is not None:
                return ProgramDate(packet.pts * unit, start)
            references = ReferenceClock(FragmentReader(io.BytesIO(data), packet.stream.id), unit, now=time.time())
            references.passed(packet.pos, packet.pts)
            reference = references.due(packet.pts) if references.known else None
            return None if reference is None else ProgramDate(reference.media_time * unit, reference.unix_s)
    return None


class _Fetcher:
    """GET by HTTP or HTTPS, within a deadline. The login in the source's URL goes to its host alone, and never along a redirect."""

    def __init__(self, source: str, deadline: float, monotonic: Callable[[], float]) -> None:
        parts = urlsplit(source)
        self._host, self._login = (parts.hostname, parts.port), ""
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._login = f"Basic {base64.b64encode(login.encode()).decode()}"
        self._deadline, self._monotonic = deadline, monotonic
        self._opener = urllib.request.build_opener(_Handler(self._left))

    def playlist(self, url: str) -> tuple[str, str]:
        """Where it was in the end, and its text."""
        url, data = self._get(url, _LONGEST_PLAYLIST)
        return url, data.decode()

    def data(self, url: str, most: int) -> bytes:
        """The first `most` bytes. Raises OSError, ValueError or HTTPException, as all of these."""
        return self._get(url, most)[1]

    def _get(self, url: str, most: int) -> tuple[str, bytes]:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise ValueError("a playlist may name nothing but HTTP addresses")
        host = parts.netloc.rpartition("@")[2]
        request = urllib.request.Request(parts._replace(netloc=host).geturl())
        if self._login and (parts.hostname, parts.port) == self._host:
            request.add_unredirected_header("Authorization", self._login)
        with self._opener.open(request, timeout=self._left()) as reply:
            data = b""
            while len(data) < most and self._left() and (more := reply.read1(most - len(data))):
                data += more
            self._left()  # what the deadline cut off is not all of it
            return reply.geturl(), data

    def _left(self) -> float:
        left = self._deadline - self._monotonic()
        if left <= 0:
            raise TimeoutError("the playlist took too long")
        return left


class _Handler(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """Opens connections that end in time, those of redirects included."""

    def __init__(self, left: Callable[[], float]) -> None:
        super().__init__()
        self._left = left

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Plain, left=self._left), req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Secure, left=self._left), req)


class _Plain(http.client.HTTPConnection):
    def __init__(self, host: str, *, left: Callable[[], float], **options: Any) -> None:
        super().__init__(host, **options)
        self._left = left

    def connect(self) -> None:
        self.timeout = self._left()
        super().connect()
        _end_after(self._left(), self.sock)


class _Secure(_Plain, http.client.HTTPSConnection):
    """The same over TLS: what `_Plain` calls its superclass is HTTPSConnection here."""


def _end_after(seconds: float, connected: socket.socket) -> None:
    """Cut a connection off so much later, from a thread of its own: its time-out begins anew with every byte that a server sends."""

    def end() -> None:
        with suppress(OSError):  # it is closed by then, as a rule
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
