"""Opens a source with what reads it: FFmpeg, or for single pictures over HTTP the readers of this project.

Of an http(s) address the server's answer decides, not its name: multipart, an endless row of JPEGs, or one picture are read here.
Everything else is opened by FFmpeg, after the first connection was closed: some cameras serve one client only.
"""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from afterview.stream.errors import NotAVideo, SourceError, SourceUnreachable
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.connection import Connection, Wait
from afterview.stream.source.failures.refusals import web_page
from afterview.stream.source.pictures.http_session import HttpSession, NotUnderstood, Reply
from afterview.stream.source.pictures.jpeg_end import format_of
from afterview.stream.source.pictures.motion_jpeg import MotionJpeg
from afterview.stream.source.pictures.parts import MOST_BYTES, Found, PictureParts, content_type
from afterview.stream.source.pictures.pictures import PictureConnection, PictureFeed
from afterview.stream.source.pictures.snapshot import ONE_MORE_S, Snapshots, read_body, take_picture
from afterview.stream.source.segments import SegmentWatch

_ROWS = {"video/x-motion-jpeg", "video/x-jpeg", "video/mjpeg", "video/x-mjpeg", "video/jpeg", "image/mjpeg"}
_VIDEO = (
    "video/",
    "audio/",
    "application/vnd.apple",
    "application/x-mpegurl",
    "application/dash",
    "application/ogg",
    "application/mp4",
)
"""Types of what FFmpeg reads. A type that is none of these, of pictures or of rows says nothing reliable."""
_LARGEST_UNSTATED = 16 << 20  # bytes of an answer without a type that may be one picture


class _Way(NamedTuple):
    """How an answer is read. parts None: as one picture, which begins with `head`."""

    parts: PictureParts | None
    found: list[Found]
    head: bytes = b""


def open_source(
    address: SourceAddress,
    config: SourceConfig,
    *,
    stop: threading.Event,
    wait: Wait,
    segments: SegmentWatch | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    clock: Callable[[], float] = time.time,
) -> Connection | PictureConnection:
    """Open `address`. wait, segments: see Connection. Raises SourceError, redacted."""
    if address.kind == "http":
        feed = _open_pictures(address, config, stop, wait, monotonic)
        if feed is not None:
            return PictureConnection(
                feed, address.redacted, decoder_threads=config.decoder_threads, monotonic=monotonic, clock=clock
            )
    return Connection(address, config, wait=wait, segments=segments, monotonic=monotonic, clock=clock)


def sends_pictures(address: SourceAddress, config: SourceConfig) -> bool:
    """Whether this http(s) address is read by this project's own readers. Waits for no picture. Raises SourceError."""
    with HttpSession(address, threading.Event()) as session:
        try:
            reply = session.get(config.open_timeout_s)
        except NotUnderstood:
            return False
        try:
            return _way(address, reply, config, time.monotonic) is not None
        finally:
            reply.close()


def _open_pictures(
    address: SourceAddress,
    config: SourceConfig,
    stop: threading.Event,
    wait: Wait,
    monotonic: Callable[[], float],
) -> PictureFeed | None:
    """None: FFmpeg is to read it."""
    session = HttpSession(address, stop)
    feed: PictureFeed | None = None
    try:
        reply = session.get(config.open_timeout_s)
        way = _way(address, reply, config, monotonic)
        if way is None:
            reply.close()
        elif way.parts is not None:
            feed = MotionJpeg(
                address, session, reply, way.parts,
                read_timeout_s=config.read_timeout_s, period_s=1 / config.poll_fps, wait=wait, monotonic=monotonic, found=way.found,
            )  # fmt: skip
        else:
            feed = _one_picture(address, config, session, reply, way.head, stop, wait, monotonic)
    except NotUnderstood:
        pass
    finally:
        if feed is None:
            session.close()
    return feed


def _way(address: SourceAddress, reply: Reply, config: SourceConfig, monotonic: Callable[[], float]) -> _Way | None:
    """None: FFmpeg is to read it. Raises NotAVideo if another stream than the only one is asked for."""
    way = _find_way(address, reply, config, monotonic)
    if way is not None and config.stream:
        raise NotAVideo(
            f"{address.redacted}: video stream {config.stream} cannot be recorded; it sends single pictures, which are stream 0"
        )
    return way


def _find_way(
    address: SourceAddress, reply: Reply, config: SourceConfig, monotonic: Callable[[], float]
) -> _Way | None:
    kind, boundary = content_type(reply.content_type)
    if kind.startswith("multipart/") and reply.length != 0:
        return _Way(PictureParts(boundary), [])
    if kind in _ROWS and reply.length is None:
        return _Way(PictureParts(), [])
    if kind.startswith("image/") and "svg" not in kind:
        return _Way(None, [])
    return None if kind.startswith(_VIDEO) else _sniff(address, reply, config, monotonic)


def _sniff(address: SourceAddress, reply: Reply, config: SourceConfig, monotonic: Callable[[], float]) -> _Way | None:
    """What the first bytes say, where the header says nothing reliable. Raises NotAVideo for a web page."""
    data = reply.read(config.open_timeout_s)
    if not data:
        return None
    text = data.lstrip(b"\r\n")
    if reply.length is not None:
        if take_picture(data, 0.0) is not None and reply.length <= _LARGEST_UNSTATED:
            return _Way(None, [], data)
    elif format_of(text) == "mjpeg" or (text.startswith(b"--") and b"\n" in text and b"image/" in text.lower()):
        parts = PictureParts()
        return _Way(parts, parts.feed(data, monotonic()))
    if data.lstrip(b"\xef\xbb\xbf\r\n\t ")[:5].lower() in (b"<html", b"<!doc"):
        raise web_page(address, reply.redirected_to)
    return None


def _one_picture(
    address: SourceAddress,
    config: SourceConfig,
    session: HttpSession,
    reply: Reply,
    head: bytes,
    stop: threading.Event,
    wait: Wait,
    monotonic: Callable[[], float],
) -> PictureFeed | None:
    """A snapshot; or, where the length of the answer is not stated and it goes on after the first picture, a row of pictures."""
    if reply.length is None:
        parts, found, body = PictureParts(), list[Found](), head
        deadline = monotonic() + config.open_timeout_s
        while True:
            data = reply.read(ONE_MORE_S if found else max(0.0, deadline - monotonic()))
            if data == b"" and (found := found or parts.end()):
                break
            if data:
                found += parts.feed(data, monotonic())
                body += b"" if found or len(body) > MOST_BYTES else data
            if data is None or len(found) > 1:
                return MotionJpeg(
                    address, session, reply, parts,
                    read_timeout_s=config.read_timeout_s, period_s=1 / config.poll_fps, wait=wait, monotonic=monotonic, found=found,
                )  # fmt: skip
            if data == b"":
                break
        first = found[0] if found else take_picture(body, monotonic())
    else:
        body, at = read_body(reply, address, config.read_timeout_s, monotonic, head)
        first = take_picture(body, at)
    reply.close()
    if first is None:
        raise _no_picture(address, reply, body)
    return Snapshots(
        address, session, first,
        fps=config.poll_fps, tag=reply.tag, read_timeout_s=config.read_timeout_s, stop=stop, wait=wait, monotonic=monotonic,
    )  # fmt: skip


def _no_picture(address: SourceAddress, reply: Reply, body: bytes) -> SourceError:
    """Why the answer to the first request for a snapshot cannot be used."""
    said = f"{reply.content_type or 'no type stated'}, {len(body)} bytes"
    if not body:
        return SourceUnreachable(f"{address.redacted}: the answer is empty ({said}); is the camera on?")
    if body.lstrip()[:5].lower() in (b"<html", b"<!doc"):
        return web_page(address, reply.redirected_to)
    return NotAVideo(
        f"{address.redacted}: the answer is no picture that can be read ({said}); open the address in a browser to see what it is"
    )
