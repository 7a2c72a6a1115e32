"""What servers refuse, and what answers that is no camera, is said in words with the remedy."""

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from afterview.stream.errors import NotAVideo, SourceError, SourceUnreachable
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.failures.rtsp_status import ask
from afterview.stream.source.probe import probe
from tests.support.clips import make_clip
from tests.support.refusing_rtsp import RefusingCamera

_SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=5)


def refusal(url: str, **config: str) -> SourceError:
    with pytest.raises(SourceError) as raised:
        probe(parse_source(url), SourceConfig(open_timeout_s=3, read_timeout_s=3).model_copy(update=config))
    return raised.value


@contextmanager
def answering(reply: bytes) -> Iterator[str]:
    """host:port of a server that gives every client this answer, whatever it asks, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(4096)
                    client.sendall(reply)

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("method", ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"])
@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        ("453 Not Enough Bandwidth", "close other viewers"),
        ("454 Session Not Found", "forgot the session"),
        ("503 Service Unavailable", "is busy or starting"),
        ("500 Internal Server Error", "restart the camera"),
        ("551 Option not supported", "check the path"),
        ("302 Elsewhere", "check the path"),
        ("400 Bad Request", "does not understand the address"),
    ],
)
def test_a_status_is_named_with_the_request_and_the_remedy(clip: Path, method: str, status: str, remedy: str) -> None:
    with RefusingCamera(clip, refusals={method: status}) as camera:
        error = refusal(camera.url)
    assert isinstance(error, SourceUnreachable)
    assert f"{camera.url}: the server refused {method} with {status}: " in str(error)
    assert remedy in str(error)


@pytest.mark.parametrize(
    ("transport", "remedy"), [("tcp", "over TCP (461 Unsupported transport); try --udp"), ("udp", "leave out --udp")]
)
def test_another_transport_is_named(clip: Path, transport: str, remedy: str) -> None:
    with RefusingCamera(clip, refusals={"SETUP": "461 Unsupported transport"}) as camera:
        assert remedy in str(refusal(camera.url, rtsp_transport=transport))


@pytest.mark.parametrize(
    ("sdp", "said"),
    [
        (_SDP + "m=audio 0 RTP/AVP 0\r\na=control:track\r\n", "no video: the server describes only sound"),
        (_SDP + "m=application 0 RTP/AVP 107\r\na=control:track\r\n", "no video: the server describes only application"),
        (_SDP, "no video: the server describes nothing"),
        (_SDP + "m=video 0 RTP/AVP 96\r\na=rtpmap:96 FANCY/90000\r\na=control:track\r\n", "no decoder for its video; set the camera to"),
    ],
)  # fmt: skip
def test_a_description_without_video_that_can_be_decoded(clip: Path, sdp: str, said: str) -> None:
    with RefusingCamera(clip, sdp=sdp) as camera:
        error = refusal(camera.url)
    assert isinstance(error, NotAVideo)
    assert said in str(error)


_WEB_PAGE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 20\r\n\r\n<html>log in</html>\n"
)


@pytest.mark.parametrize(
    ("scheme", "reply", "said"),
    [
        ("rtsp", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "a web server answers there, not RTSP; write http://"),
        ("rtsp", b"SSH-2.0-OpenSSH_9\r\n", "does not speak RTSP; check the port"),
        ("rtsp", b"", "closes the connection without an answer; check the port, or write rtsps://"),
        ("rtsps", b"RTSP/1.0 400 Bad Request\r\n\r\n", "does not speak TLS; write rtsp:// instead of rtsps://"),
        ("http", _WEB_PAGE, "is a web page, not a video; give the address of the stream itself"),
        ("http.m3u8", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "the server answers 503: it is busy or starting"),
        ("http", b"RTSP/1.0 400 Bad Request\r\n\r\n", "speaks RTSP; write rtsp:// instead"),
        ("https.m3u8", b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS; write http:// instead of https://"),
    ],
)  # fmt: skip
def test_what_answers_that_is_no_camera(scheme: str, reply: bytes, said: str) -> None:
    with answering(reply) as host:
        protocol, _, ending = scheme.partition(".")
        error = refusal(f"{protocol}://user:geheim@{host}/x{ending and '.' + ending}")
    assert said in str(error)
    assert "geheim" not in str(error)


def test_an_unknown_host_is_named() -> None:
    assert "the host name is unknown" in str(refusal("rtsp://camera.invalid/x"))


class _Locked(RefusingCamera):
    """Wants a digest login, and refuses SETUP then."""

    def _request(self, client: socket.socket) -> bytes:
        request = super()._request(client)
        _Locked.latest = request
        return request

    def _answer(self, method: bytes, number: bytes) -> bytes:
        given = re.search(rb'Authorization: Digest .*uri="([^"]*)".*response="(\w+)"', _Locked.latest)
        action = hashlib.md5(method + b":" + (given[1] if given else b"")).hexdigest()
        secret = hashlib.md5(b"user:cam:geheim").hexdigest()
        if method != b"OPTIONS" and (
            given is None or given[2].decode() != hashlib.md5(f"{secret}:77:{action}".encode()).hexdigest()
        ):
            return (
                b"RTSP/1.0 401 Unauthorized\r\nCSeq: "
                + number
                + b'\r\nWWW-Authenticate: Digest realm="cam", nonce="77"\r\n\r\n'
            )
        return super()._answer(method, number)

    latest = b""


def test_the_question_has_the_login_and_no_text_has_it(clip: Path) -> None:
    with _Locked(clip, refusals={"SETUP": "453 Full"}) as camera:
        url = camera.url.replace("://", "://user:geheim@")
        answer = ask(url, "tcp")
        assert answer is not None
        assert (answer.method, answer.status, answer.media) == ("SETUP", 453, ("video",))
        said = str(refusal(url))
        assert "refused SETUP with 453 Full" in said
        assert "geheim" not in said + repr(answer)


def test_a_silent_server_is_asked_for_two_seconds_at_most() -> None:
    times = iter([0.0, 0.0, 3.0])
    with answering(b"RTSP/1.0 200") as host:
        answer = ask(f"rtsp://{host}/x", "tcp", monotonic=lambda: next(times))
    assert answer is not None
    assert answer.status == 0


class _Changed(RefusingCamera):
    """Each answer to a method is changed by a pattern and its replacement. second: the description has the track twice."""

    def __init__(self, clip: Path, method: str, pattern: bytes, replacement: bytes, *, second: bool = False) -> None:
        super().__init__(clip)
        self._method, self._pattern, self._replacement, self._second = method, pattern, replacement, second

    def _answer(self, method: bytes, number: bytes) -> bytes:
        answer = super()._answer(method, number)
        if method == b"DESCRIBE" and self._second:
            head, _, body = answer.partition(b"\r\n\r\n")
            body += body[body.index(b"m=video") :].replace(b"control:track", b"control:other")
            answer = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head) + b"\r\n\r\n" + body
        again = method == b"SETUP" and self._second and self.asked.count("SETUP") % 2 == 1
        return answer if method.decode() != self._method or again else re.sub(self._pattern, self._replacement, answer)


_OK = rb"RTSP/1.0 200 OK"


@pytest.mark.parametrize(
    ("method", "pattern", "replacement", "second", "said"),
    [
        ("DESCRIBE", rb"Content-Length: \d+\r\n", b"", False, "description of the stream is empty, or states no length"),
        ("DESCRIBE", rb"Content-Length: \d+[^$]*", b"Content-Length: 0\r\n\r\n", False, "description of the stream is empty"),
        ("DESCRIBE", _OK, b"RTSP/1.0 302 Moved\r\nLocation: http://10.0.0.9/x", False, r"redirects \(302\) to http://10.0.0.9/x, "),
        ("SETUP", rb"RTP/AVP/TCP;unicast;interleaved=0-1", b"RTP/AVP;unicast;client_port=1-2", False, "another transport .* --udp"),
        ("SETUP", _OK, b"RTSP/1.0 453 No", True, "refused SETUP of its video track 2 with 453"),
    ],
)  # fmt: skip
def test_answers_that_ffmpeg_does_not_explain(
    clip: Path, method: str, pattern: bytes, replacement: bytes, second: bool, said: str
) -> None:
    with _Changed(clip, method, pattern, replacement, second=second) as camera:
        assert re.search(said, str(refusal(camera.url)))


@pytest.mark.parametrize(
    ("pattern", "replacement", "said"),
    [
        (_OK, b"RTSP/1.0 302 Moved\r\nLocation: %URL", "redirects (302) to rtsp://127.0.0.1"),
        (rb"Content-Length: \d+", b"Content-Length: 5000", "answer to DESCRIBE is shorter than it states"),
    ],
)
def test_a_source_that_is_silent_is_asked_why(clip: Path, pattern: bytes, replacement: bytes, said: str) -> None:
    with _Changed(clip, "DESCRIBE", pattern, b"") as camera:
        camera._replacement = replacement.replace(b"%URL", camera.url.encode())
        with pytest.raises(SourceError) as raised:
            probe(parse_source(camera.url), SourceConfig(open_timeout_s=0.5, read_timeout_s=1))
    assert said in str(raised.value)


def test_a_greeting_of_another_service_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            for _ in range(2):
                client, _ = listener.accept()
                client.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
                kept.append(client)

        kept: list[socket.socket] = []
        threading.Thread(target=greet, daemon=True).start()
        url = f"rtsp://127.0.0.1:{listener.getsockname()[1]}/x"
        with pytest.raises(SourceError) as raised:
            probe(parse_source(url), SourceConfig(open_timeout_s=0.5, read_timeout_s=1))
        for client in kept:
            client.close()
    assert "does not speak RTSP" in str(raised.value)
