"""The program date of HLS: when the pictures of a broadcast were taken, by the broadcaster's clock.

FFmpeg ignores EXT-X-PROGRAM-DATE-TIME. So this module fetches the playlist, and the head of its newest dated segment to learn the
presentation time that the date belongs to (RFC 8216, section 4.3.2.6). If no segment is dated, a prft box in the newest one may date it.
On any failure the date is unknown and frames are dated by their arrival: nothing is raised or printed, and a password is sent to no host
but the one that it was given for.

Threads: everything runs in the decode thread, which waits for at most TIMEOUT_S. The event loop in it only serves to cut requests off.
"""

import asyncio
import io
import logging
import time
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

import av
import httpx2
import m3u8  # type: ignore[import-untyped]

from afterview.stream.source.clocks.fragments import FragmentReader
from afterview.stream.source.clocks.reference_clock import ReferenceClock

TIMEOUT_S = 2.0  # for all requests together
_LONGEST_PLAYLIST = 1 << 20  # bytes
_SEGMENT_HEAD = 1 << 18  # bytes; the first picture of 20 Mbit/s video, and what comes before it
_LONGEST_SEGMENT_S = 86_400.0  # seconds
_MOST_REDIRECTS = 5

_LOGGER = logging.getLogger(__name__)


class ProgramDate(NamedTuple):
    """The broadcaster's clock (Unix seconds) at a presentation time (seconds, as the packets state it)."""

    pts_s: float
    unix_s: float


@dataclass(frozen=True)
class Segment:
    """A segment of a media playlist. start: Unix seconds of its first picture, if known. head: URI of its initialization section."""

    uri: str
    start: float | None
    head: str | None


def read_program_date(url: str) -> ProgramDate | None:
    """The program date of the broadcast at `url`, a master or media playlist; None if it has none that can be used."""
    try:
        found = asyncio.run(_fetch(url))
        return None if found is None else _date_of(*found)
    except Exception as error:  # parsers fail in many ways on wrong playlists; a missing date is no failure
        _LOGGER.debug("no program date: %s", type(error).__name__)
        return None


async def _fetch(url: str) -> tuple[bytes, float | None] | None:
    """The newest segment's first bytes, and the date that the playlist gives it. Raises TimeoutError, httpx2.HTTPError, ValueError."""
    headers = {"Accept-Encoding": "identity"}
    async with asyncio.timeout(TIMEOUT_S), httpx2.AsyncClient(headers=headers, timeout=TIMEOUT_S) as client:
        fetch = _Fetcher(client, url)
        url, playlist = await fetch.get(url, _LONGEST_PLAYLIST)
        if variants := variants_of(playlist.decode()):
            url, playlist = await _first_that_is_there(fetch, [urljoin(url, variant) for variant in variants])
        segment = newest_segment(playlist.decode())
        if segment is None or segment.start is segment.head is None:
            return None
        head = b""
        if segment.head:
            _, head = await fetch.get(urljoin(url, segment.head), _SEGMENT_HEAD)
        _, data = await fetch.get(urljoin(url, segment.uri), _SEGMENT_HEAD)
        return head + data, segment.start


async def _first_that_is_there(fetch: "_Fetcher", urls: list[str]) -> tuple[str, bytes]:
    for url in urls[:-1]:
        try:
            return await fetch.get(url, _LONGEST_PLAYLIST)
        except httpx2.HTTPError:
            continue
    return await fetch.get(urls[-1], _LONGEST_PLAYLIST)


def variants_of(playlist: str) -> list[str]:
    """URIs of a master playlist's variants (all have the same times), those with pictures first; none for a media playlist."""
    variants = m3u8.loads(playlist).playlists
    return [variant.uri for variant in sorted(variants, key=lambda variant: not _has_pictures(variant.stream_info))]


def _has_pictures(about: Any) -> bool:
    if about.resolution:
        return True
    codecs = [codec.strip() for codec in (about.codecs or "").split(",") if codec.strip()]
    return not codecs or not all(codec.startswith(("mp4a", "ac-3", "ec-3", "opus", "fLaC")) for codec in codecs)


def newest_segment(playlist: str) -> Segment | None:
    """The last segment of a media playlist with a known date: its own, or an earlier one's plus the durations since. Else the last one.

    None if there is no segment, or if segments are encrypted or parts of files. Raises ValueError or OverflowError for a wrong playlist.
    """
    newest: Segment | None = None
    date: float | None = None  # where the next segment begins, by the dates and durations so far
    for segment in m3u8.loads(playlist).segments:
        if segment.uri is None:
            continue  # low-latency HLS: a segment that is not complete
        if not 0 <= segment.duration <= _LONGEST_SEGMENT_S:  # NaN included
            raise ValueError("no segment is that long")
        if segment.byterange or (segment.key and segment.key.method != "NONE"):
            return None
        if segment.program_date_time is not None:
            date = segment.program_date_time.timestamp()
        elif segment.discontinuity:
            date = None
        if date is not None or newest is None or newest.start is None:
            newest = Segment(segment.uri, date, segment.init_section.uri if segment.init_section else None)
        date = None if date is None else date + segment.duration
    return newest


def _date_of(data: bytes, start: float | None) -> ProgramDate | None:
    """The date of a segment's first picture: `start`, else what the prft box before it states."""
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
    """GET by HTTP or HTTPS. The login in the source's URL goes to its host only, and never along a redirect."""

    def __init__(self, client: httpx2.AsyncClient, source: str) -> None:
        parts = urlsplit(source)
        self._client, self._host = client, (parts.hostname, parts.port)
        self._login: httpx2.BasicAuth | None = None
        if parts.username is not None:
            self._login = httpx2.BasicAuth(unquote(parts.username), unquote(parts.password or ""))

    async def get(self, url: str, most: int) -> tuple[str, bytes]:
        """The address after redirects, and the first `most` bytes of what is there."""
        login = self._login
        for _ in range(_MOST_REDIRECTS):
            parts = urlsplit(url)
            own = (parts.hostname, parts.port) == self._host
            plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
            async with self._client.stream("GET", plain, auth=login if own else None) as reply:
                if reply.has_redirect_location:
                    url, login = urljoin(plain, reply.headers["Location"]), None
                    continue
                reply.raise_for_status()
                data = b""
                async for more in reply.aiter_raw():
                    data += more
                    if len(data) >= most:
                        break
                return plain, data[:most]
        raise httpx2.TooManyRedirects("too many redirects")
