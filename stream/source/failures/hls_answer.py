"""Why an HLS source gives no picture, asked once more after FFmpeg failed: it says nothing of a playlist without segments, of segments and
keys that are not there, or of a variant that does not answer.

The login goes to the source's own host only, and never along a redirect.
"""

import base64
import ssl
import time
import urllib.request
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urljoin, urlsplit

from afterview.stream.errors import NotAVideo, SourceError, SourceUnreachable
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.address.redact import redact

_LIMIT_S = 3.0  # of all requests together, ...
_ONE_S = 1.0  # ... and of one
_MOST_BYTES = 1 << 20  # of a playlist
_MOST_VARIANTS = 6  # that are looked at
_AGAIN = "try again, or use --keep-trying"


class _NoAnswer(Exception):
    """What is said of a request that failed, for people: "404", "nothing"."""


def explain_hls(address: SourceAddress) -> SourceError | None:
    """What is wrong with the broadcast; None: nothing that can be told. Takes three seconds at most."""
    asked = _Asked(address.url, time.monotonic() + _LIMIT_S)
    try:
        kind, text = _judge(asked, address.url)
    except Exception:  # wrong playlists fail in many ways, and the first error says something, too
        return None
    return kind(f"{address.redacted}: {text}") if text else None


def _judge(asked: "_Asked", url: str) -> tuple[type[SourceError], str]:
    """What is wrong in words; '': nothing that can be told."""
    import m3u8  # type: ignore[import-untyped]  # late: few need it

    url, data = asked.get(url)
    if b"#EXTM3U" in data[:100] and not data.startswith(b"#EXTM3U"):
        return (
            NotAVideo,
            "its playlist does not begin with #EXTM3U (a byte order mark or blank lines come first): the server must mend that",
        )
    if data and b"#EXTM3U" not in data:
        return NotAVideo, ""  # a web page, a video
    playlist, silent = m3u8.loads(data.decode("utf-8", "replace")), ""
    variants = [variant.uri for variant in playlist.playlists][:_MOST_VARIANTS]
    media = None
    for variant in variants:
        try:
            at, data = asked.get(urljoin(url, variant))
        except _NoAnswer as error:
            silent = silent or f"its variant {redact(variant)} answers {error}"
            continue
        if media is None:
            media = at, m3u8.loads(data.decode("utf-8", "replace"))
    if variants and media is None:
        return SourceUnreachable, f"its playlist is there, but {silent}; {_AGAIN}"
    at, playlist = media or (url, playlist)
    if not playlist.segments:
        return SourceUnreachable, f"its playlist lists no segment: the encoder is off, or has just started; {_AGAIN}"
    kind, text = _judge_segment(asked, at, playlist.segments[-1])
    if not text and silent:
        return SourceUnreachable, f"{silent}, and FFmpeg waits for it; give the address of another variant"
    return kind, text


def _judge_segment(asked: "_Asked", base: str, segment: object) -> tuple[type[SourceError], str]:
    key: Any = getattr(segment, "key", None)
    head: Any = getattr(segment, "init_section", None)
    method = "NONE" if key is None else key.method
    if method not in ("NONE", "AES-128"):
        return NotAVideo, f"it is encrypted by {redact(method)} (DRM), which cannot be read; use a stream without it"
    parts = [("the key of its segments", key.uri if key and method != "NONE" else None)]
    parts += [("the beginning of its segments (EXT-X-MAP)", head.uri if head else None)]
    parts += [("its newest segment", getattr(segment, "uri", None))]
    for what, uri in parts:
        if not uri:
            continue
        try:
            _, data = asked.get(urljoin(base, uri), most=1024)
        except _NoAnswer as error:
            return (
                SourceUnreachable,
                f"its playlist is there, but {what} answers {error}; look at the packager, or {_AGAIN}",
            )
        if data.lstrip()[:5].lower() in (b"<html", b"<!doc"):
            return NotAVideo, f"its playlist is there, but {what} is a web page; perhaps a login is needed"
    return NotAVideo, ""


class _Asked:
    """Requests until a time on the monotonic clock."""

    def __init__(self, source: str, until: float) -> None:
        parts = urlsplit(source)
        self._until, self._host = until, (parts.hostname, parts.port)
        self._login = ""
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._login = "Basic " + base64.b64encode(login.encode()).decode()

    def get(self, url: str, most: int = _MOST_BYTES) -> tuple[str, bytes]:
        """The address after redirects, and the first bytes of what is there. Raises _NoAnswer."""
        left_s = self._until - time.monotonic()
        parts = urlsplit(url)
        if left_s <= 0 or parts.scheme not in ("http", "https"):
            raise TimeoutError
        request = urllib.request.Request(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())
        request.add_header("User-Agent", "Afterview")
        if self._login and (parts.hostname, parts.port) == self._host:
            request.add_unredirected_header("Authorization", self._login)
        try:
            # Certificates are not verified: FFmpeg, which reads the source, does not either.
            with urllib.request.urlopen(
                request, timeout=min(left_s, _ONE_S), context=ssl._create_unverified_context()
            ) as reply:
                return reply.geturl(), reply.read(most)
        except HTTPError as error:
            raise _NoAnswer(str(error.code)) from None
        except OSError:
            raise _NoAnswer("nothing") from None
