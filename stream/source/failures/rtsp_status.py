"""What an RTSP server answers to the requests that FFmpeg sends, asked once more after FFmpeg failed: of most status codes FFmpeg keeps the
first digit only, and of an answer that is not RTSP nothing.

The login goes to the source's own host only, over one connection, and never into a text.
"""

import base64
import hashlib
import re
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from afterview.stream.source.address.redact import redact

INCOMPLETE = "an answer without its end"
LIMIT_S = 2.0  # of all requests together
_MOST_BYTES = 65536  # of an answer
_STATUS = re.compile(r"RTSP/\d\.\d (\d{3}) ?([^\r\n]*)")
_TRANSPORTS = {
    "tcp": "RTP/AVP/TCP;unicast;interleaved=0-1",
    "udp": "RTP/AVP/UDP;unicast;client_port=35426-35427",
    "multicast": "RTP/AVP/UDP;multicast",
}


@dataclass(frozen=True)
class RtspAnswer:
    """What the server answered to the last request.

    method: that request; "" if no connection was made. status: 0 if the answer is not RTSP. text: its first line, or why there is none, of
    printable ASCII. media: the kinds of media in its description, such as "video" and "audio". described: it had a description.
    location: where it redirects to, for people. other_transport: it set up another transport than it was asked for.
    track: the number of the video track that was asked for last, from 1.
    """

    method: str
    status: int
    text: str
    media: tuple[str, ...] = ()
    described: bool = True
    location: str = ""
    other_transport: bool = False
    track: int = 1


class _NoAnswer(Exception):
    """Why there is no status. text: what came instead, or the reason."""


def ask(
    url: str,
    transport: str,
    *,
    play: bool = True,
    limit_s: float = LIMIT_S,
    monotonic: Callable[[], float] = time.monotonic,
) -> RtspAnswer | None:
    """The first answer that is not 200, or the last one; None within no time or for a transport that is not asked over.

    url: with its login. transport: of SourceConfig. play: go on to SETUP and PLAY after the description.
    """
    if transport not in _TRANSPORTS:
        return None
    parts = urlsplit(url)
    try:
        with _Dialogue(parts, monotonic() + limit_s, monotonic) as dialogue:
            return dialogue.run(_TRANSPORTS[transport], play=play)
    except _NoAnswer as error:
        return RtspAnswer(dialogue.method, 0, str(error), tuple(dialogue.media))
    except (OSError, ValueError) as error:
        return RtspAnswer("", 0, type(error).__name__)


class _Dialogue:
    """One connection."""

    def __init__(self, parts: SplitResult, until: float, monotonic: Callable[[], float]) -> None:
        self._until, self._monotonic = until, monotonic
        self._login = unquote(parts.username or ""), unquote(parts.password or "")
        netloc = parts.netloc.rpartition("@")[2]
        self._url = parts._replace(scheme="rtsp", netloc=netloc).geturl()
        tls = parts.scheme == "rtsps"
        self._socket = socket.create_connection(
            (parts.hostname or "", parts.port or (322 if tls else 554)), until - monotonic()
        )
        if tls:
            context = ssl.create_default_context()  # like FFmpeg, which checks no certificates: cameras sign their own
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            try:
                self._socket = context.wrap_socket(self._socket, server_hostname=parts.hostname)
            except ssl.SSLError:
                self._socket.close()
                raise
        self._data = b""
        self._number = 0
        self._challenge, self._session = "", ""
        self.method = ""
        self.media: list[str] = []
        self._track, self._other_transport = 1, False

    def __enter__(self) -> "_Dialogue":
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def run(self, transport: str, *, play: bool) -> RtspAnswer:
        """OPTIONS, DESCRIBE, SETUP and PLAY, until one is refused."""
        status, text, head, body = self._request("OPTIONS", self._url)
        described = True
        if status == 200:
            status, text, head, body = self._request("DESCRIBE", self._url, "Accept: application/sdp\r\n")
            self.media, described = re.findall(r"^m=(\w+)", body, re.MULTILINE), status != 200 or "=" in body
            if status == 200 and play and "video" in self.media:
                status, text, head = self._set_up(_header(head, "Content-Base") or self._url, body, transport)
        location = redact(_printable(_header(head, "Location"))) if 300 <= status < 400 else ""
        return RtspAnswer(
            self.method, status, text, tuple(self.media), described, location, self._other_transport, self._track
        )

    def _set_up(self, base: str, description: str, transport: str) -> tuple[int, str, str]:
        """SETUP of every video track, as FFmpeg sends it, and PLAY."""
        status, text, head = 0, "", ""
        for self._track, section in enumerate(
            re.findall(r"^m=video.*?(?=^m=|\Z)", description, re.MULTILINE | re.DOTALL), 1
        ):
            found = re.search(r"^a=control:(\S+)", section, re.MULTILINE)
            control = found[1] if found else ""
            track = (
                control
                if "://" in control
                else base
                if control in ("", "*")
                else urljoin(base.rstrip("/") + "/", control)
            )
            status, text, head, _ = self._request("SETUP", track, f"Transport: {transport}\r\n")
            if status != 200:
                return status, text, head
            self._session = _header(head, "Session").partition(";")[0]
            got = _header(head, "Transport").upper()
            self._other_transport = bool(got) and ("TCP" in got) != ("TCP" in transport)
            if self._other_transport:
                return status, text, head
        status, text, head, _ = self._request("PLAY", self._url, "Range: npt=0.000-\r\n")
        self._socket.sendall(self._text("TEARDOWN", self._url, ""))
        return status, text, head

    def _request(self, method: str, url: str, headers: str = "") -> tuple[int, str, str, str]:
        """Status, first line, headers and body of the answer; with the login if the server asks for it."""
        self.method = method
        status, text, head, body = 0, "", "", ""
        for _ in range(2):
            self._socket.sendall(self._text(method, url, headers))
            status, text, head, body = self._answer()
            challenge = re.search(r"^WWW-Authenticate: *(.+)$", head, re.MULTILINE | re.IGNORECASE)
            if status != 401 or self._challenge or challenge is None or not self._login[0]:
                break
            digests = re.findall(r"^WWW-Authenticate: *(Digest .+)$", head, re.MULTILINE | re.IGNORECASE)
            self._challenge = (digests or [challenge[1]])[0].strip()
        return status, text, head, body

    def _text(self, method: str, url: str, headers: str) -> bytes:
        self._number += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._number}", "User-Agent: Afterview"]
        if self._session:
            lines.append(f"Session: {self._session}")
        if self._challenge:
            lines.append(f"Authorization: {_authorization(self._challenge, *self._login, method, url)}")
        return ("\r\n".join(lines) + "\r\n" + headers + "\r\n").encode()

    def _answer(self) -> tuple[int, str, str, str]:
        while b"\r\n\r\n" not in self._data:
            self._receive()
        raw, _, self._data = self._data.partition(b"\r\n\r\n")
        head = raw.decode("utf-8", "replace").replace("\r\n", "\n")
        match = _STATUS.match(head)
        if match is None:
            raise _NoAnswer(_printable(head))
        length = _header(head, "Content-Length")
        wanted = min(int(length), _MOST_BYTES) if length.isdecimal() else 0
        try:
            while len(self._data) < wanted:
                self._receive()
        except _NoAnswer:
            raise _NoAnswer(INCOMPLETE) from None
        body, self._data = self._data[:wanted], self._data[wanted:]
        return int(match[1]), _printable(match[2]), head, body.decode("utf-8", "replace").replace("\r\n", "\n")

    def _receive(self) -> None:
        left_s = self._until - self._monotonic()
        if left_s <= 0 or len(self._data) > _MOST_BYTES:
            raise _NoAnswer(_printable(self._data.decode("latin-1")) or "no answer")
        self._socket.settimeout(left_s)
        try:
            more = self._socket.recv(65536)
        except OSError:
            more = b""
        if not more:
            raise _NoAnswer(_printable(self._data.decode("latin-1")) or "no answer")
        self._data += more


def _header(head: str, name: str) -> str:
    found = re.search(rf"^{name}: *(.*)$", head, re.MULTILINE | re.IGNORECASE)
    return found[1].strip() if found else ""


def _printable(text: str) -> str:
    line = (text.splitlines() or [""])[0]
    return "".join(letter for letter in line if " " <= letter <= "~")[:80].strip()


def _authorization(challenge: str, user: str, password: str, method: str, url: str) -> str:
    """The value of the Authorization header. RFC 2617."""
    if not challenge.lower().startswith("digest"):
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def value(name: str) -> str:
        found = re.search(rf'\b{name}="([^"]*)"', challenge)
        return found[1] if found else ""

    def digest(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

    realm, nonce = value("realm"), value("nonce")
    secret, action = digest(user, realm, password), digest(method, url)
    fields = {"username": user, "realm": realm, "nonce": nonce, "uri": url}
    extra = ""
    if re.search(r"\bqop=", challenge):
        fields["response"], extra = (
            digest(secret, nonce, "00000001", "afterview", "auth", action),
            (', qop=auth, nc=00000001, cnonce="afterview"'),
        )
    else:
        fields["response"] = digest(secret, nonce, action)
    if opaque := value("opaque"):
        fields["opaque"] = opaque
    return "Digest " + ", ".join(f'{name}="{text}"' for name, text in fields.items()) + extra
