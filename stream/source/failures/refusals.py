"""Refusals of servers in words, with the remedy: what RTSP status codes mean to a person who wants a picture, and what answers that is no
camera.
"""

import socket
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

import av

from afterview.stream.errors import NotAVideo, SourceError, SourceUnreachable
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.address.redact import redact
from afterview.stream.source.failures.rtsp_status import INCOMPLETE, LIMIT_S, RtspAnswer, ask

_CLEAR = (
    av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError, av.error.HTTPNotFoundError, ConnectionRefusedError,
    av.error.ExitError, av.error.ProtocolNotFoundError,
)  # fmt: skip
"""Errors of FFmpeg that say what the matter is."""
_SILENT_S = 0.5  # for a server that has been silent for long
_OTHER_TRANSPORT = {
    "tcp": "try --udp",
    "udp": "leave out --udp",
    "http": "try --transport tcp",
    "multicast": "try --transport tcp",
}
_REMEDIES = {
    400: "it does not understand the address; check the path and its parameters",
    406: "it cannot give this stream; choose another path",
    415: "it cannot describe this stream; choose another path",
    429: "it was asked too often; wait, or watch a restream instead of the camera",
    451: "it does not know a parameter of the address; check it",
    453: "it has no bandwidth for one more client; close other viewers, watch its smaller stream, or watch a restream",
    454: "it forgot the session, as cameras do that restart or have too many clients; try again, or use --keep-trying",
    455: "it cannot do this now; the camera may still be starting; try again, or use --keep-trying",
    500: "it has a fault of its own; restart the camera or the server",
    501: "it cannot do this; check that the path is a stream that can be played",
    503: "it is busy or starting, has too many clients, or its camera is off; try again, or use --keep-trying",
    505: "it speaks another version of RTSP",
}


def explain_refusal(error: Exception, address: SourceAddress, transport: str) -> SourceError | None:
    """The error to raise for one of FFmpeg that does not say what is wrong, after the server was asked; None: it did not tell either."""
    if isinstance(error, _CLEAR) or address.kind not in ("rtsp", "http", "hls"):
        return None
    host = urlsplit(address.url).hostname or ""
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return SourceUnreachable(f"{address.redacted}: the host name is unknown; check it, or give the IP address")
    if address.kind != "rtsp":
        return _of_http(address)
    answer = ask(address.url, transport)
    return None if answer is None else _of_rtsp(address, answer, transport)


def no_video_described(address: SourceAddress) -> NotAVideo:
    """An RTSP server describes no stream of video."""
    answer = ask(address.url, "tcp", play=False)
    media = ", ".join(dict.fromkeys(answer.media)) if answer is not None else ""
    found = "only sound" if media == "audio" else f"only {media}" if media else "nothing"
    return NotAVideo(
        f"{address.redacted}: no video: the server describes {found}; choose another path, or turn on video for this stream in the camera"
    )


def _of_rtsp(address: SourceAddress, answer: RtspAnswer, transport: str) -> SourceError | None:
    if answer.method and answer.status == 461:
        over = {"tcp": "TCP", "udp": "UDP", "multicast": "multicast"}.get(transport, transport)
        text = f"the server does not send over {over} (461 {answer.text}); {_OTHER_TRANSPORT[transport]}"
    elif answer.method and answer.other_transport:
        text = f"the server answers SETUP with another transport than it was asked for; {_OTHER_TRANSPORT[transport]}"
    elif answer.status == 200 and not answer.described:
        text = "the server's description of the stream is empty, or states no length; look at the log of the camera or the server"
    elif answer.location:
        text = _redirected(answer)
    elif answer.status in (401, 403, 404) or (answer.method and 200 <= answer.status < 300):
        return None
    elif answer.status:
        number = f"{answer.status} {answer.text}".strip()
        remedy = _REMEDIES.get(answer.status, "check the path, and the log of the camera or the server")
        asked = answer.method + (
            f" of its video track {answer.track}" if answer.track > 1 and answer.method == "SETUP" else ""
        )
        text = f"the server refused {asked} with {redact(number)}: {remedy}"
    else:
        return _not_rtsp(address, answer)
    return SourceUnreachable(f"{address.redacted}: {text}")


def _redirected(answer: RtspAnswer) -> str:
    """FFmpeg follows redirects to RTSP only, and without end."""
    if answer.location.startswith(("rtsp://", "rtsps://")):
        return f"the server redirects ({answer.status}) to {answer.location}, perhaps in a circle; watch the address that has the stream"
    return f"the server redirects ({answer.status}) to {answer.location}, which is not RTSP; watch that address"


def explain_silence(address: SourceAddress, transport: str) -> SourceError | None:
    """The same for an RTSP source that gave no picture before a timeout: something that is not RTSP, or redirects in a circle."""
    answer = ask(address.url, transport, play=False, limit_s=_SILENT_S) if address.kind == "rtsp" else None
    if answer is None or not (answer.location or (answer.method and not answer.status and answer.text != "no answer")):
        return None
    return _of_rtsp(address, answer, transport)


def _not_rtsp(address: SourceAddress, answer: RtspAnswer) -> SourceError | None:
    if "SSL" in answer.text:
        text = "what answers there does not speak TLS; write rtsp:// instead of rtsps://, or check the port"
    elif not answer.method:
        return None
    elif answer.text == INCOMPLETE:
        text = f"the server's answer to {answer.method} is shorter than it states; look at the log of the camera or the server"
    elif answer.text.startswith("HTTP/"):
        text = "a web server answers there, not RTSP; write http://, or give the RTSP port (often 554 or 8554)"
    elif answer.text == "no answer":
        text = "the server closes the connection without an answer; check the port, or write rtsps:// if the server wants TLS"
    else:
        text = "what answers there does not speak RTSP; check the port (often 554 or 8554)"
    return SourceUnreachable(f"{address.redacted}: {text}")


def _of_http(address: SourceAddress) -> SourceError | None:
    """What a server answers over HTTP to a request without a login."""
    parts = urlsplit(address.url)
    host, target = parts.hostname or "", (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection: HTTPConnection
    if parts.scheme == "https":
        connection = HTTPSConnection(host, parts.port, timeout=LIMIT_S, context=ssl._create_unverified_context())
    else:
        connection = HTTPConnection(host, parts.port, timeout=LIMIT_S)
    try:
        connection.request("GET", target, headers={"User-Agent": "Afterview"})
        answer = connection.getresponse()
        status, kind = answer.status, (answer.getheader("Content-Type") or "").partition(";")[0].strip().lower()
    except ssl.SSLError:
        text = "what answers there does not speak TLS; write http:// instead of https://, or check the port"
        return SourceUnreachable(f"{address.redacted}: {text}")
    except (HTTPException, OSError, ValueError) as error:
        if "RTSP/" in str(error):
            return SourceUnreachable(f"{address.redacted}: what answers there speaks RTSP; write rtsp:// instead")
        return None
    finally:
        connection.close()
    if status >= 400 and status not in (401, 403, 404):
        remedy = _REMEDIES.get(status, "check the path, and the log of the camera or the server")
        return SourceUnreachable(f"{address.redacted}: the server answers {status}: {remedy}")
    if status == 200 and kind in ("text/html", "application/xhtml+xml"):
        return web_page(address)
    return None


def web_page(address: SourceAddress, redirected_to: str = "") -> NotAVideo:
    """A server answers with a web page. redirected_to: the path to which it redirects, if it does."""
    what = f"redirects to a web page ({redirected_to}), perhaps to log in" if redirected_to else "is a web page"
    return NotAVideo(
        f"{address.redacted}: {what}, not a video; give the address of the stream itself (rtsp://, .m3u8 or MJPEG; see the camera's manual)"
    )
