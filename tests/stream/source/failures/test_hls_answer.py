"""Why an HLS source gives no picture: what its playlist, variants, keys and segments answer."""

import base64
from collections.abc import Callable

import pytest

from afterview.stream.errors import AuthenticationFailed, SourceUnreachable
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.failures.hls_answer import explain_hls
from tests.support.mjpeg_server import Request, picture_server
from tests.support.reading import read

HEAD = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
SEGMENT = "#EXTINF:1.0,\n1.ts\n"
MASTER = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na/x.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nb/x.m3u8\n"
KEY = '#EXT-X-KEY:METHOD=AES-128,URI="key"\n'
DRM = '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://x"\n'
MAP = '#EXT-X-MAP:URI="init.mp4"\n'

Answers = dict[str, "str | int"]  # by path: a body, or a status


def serving(answers: Answers) -> Callable[[Request], bool]:
    def serve(request: Request) -> bool:
        answer = answers.get(request.path, 404)
        if isinstance(answer, int):
            request.answer(b"", "text/plain", status=f"{answer} No")
        else:
            request.answer(answer.encode(), "text/plain")
        return True

    return serve


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"/live.m3u8": HEAD}, "lists no segment: the encoder is off"),
        ({"/live.m3u8": HEAD + SEGMENT}, "its newest segment answers 404"),
        ({"/live.m3u8": HEAD + SEGMENT, "/1.ts": 403}, "its newest segment answers 403"),
        ({"/live.m3u8": HEAD + SEGMENT, "/1.ts": "<html>log in"}, "its newest segment is a web page"),
        ({"/live.m3u8": HEAD + KEY + SEGMENT, "/1.ts": "x", "/key": 403}, "the key of its segments answers 403"),
        ({"/live.m3u8": HEAD + DRM + SEGMENT, "/1.ts": "x"}, r"encrypted by SAMPLE-AES (DRM)"),
        ({"/live.m3u8": HEAD + MAP + SEGMENT, "/1.ts": "x"}, "(EXT-X-MAP) answers 404"),
        ({"/live.m3u8": "\ufeff" + HEAD + SEGMENT, "/1.ts": "x"}, "does not begin with #EXTM3U"),
        ({"/live.m3u8": MASTER, "/b/x.m3u8": 503}, "its variant a/x.m3u8 answers 404"),
        ({"/live.m3u8": MASTER, "/a/x.m3u8": 500, "/b/x.m3u8": HEAD + SEGMENT, "/b/1.ts": "x"}, "give the address of another"),
        ({"/live.m3u8": HEAD + SEGMENT, "/1.ts": "x"}, None),
        ({"/live.m3u8": "<html>no playlist"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(answers: Answers, said: str | None) -> None:
    with picture_server(serving(answers)) as server:
        error = explain_hls(parse_source(server.url.replace("/camera", "/live.m3u8")))
    assert (error is None) is (said is None)
    assert said is None or said in str(error)


def test_the_login_goes_to_the_own_host_only_and_is_not_shown() -> None:
    with picture_server(serving({"/1.ts": 404})) as other:
        foreign = HEAD + f"#EXTINF:1.0,\n{other.url}\n"
        with picture_server(serving({"/live.m3u8": foreign})) as server:
            address = parse_source(server.url.replace("/camera", "/live.m3u8").replace("://", "://me:secret@"))
            text = str(explain_hls(address))
        assert "authorization" not in other.requests[0].headers
    assert server.requests[0].headers["authorization"] == "Basic " + base64.b64encode(b"me:secret").decode()
    assert "secret" not in text
    assert "answers 404" in text


def test_watching_says_it() -> None:
    answers: Answers = {"/live.m3u8": HEAD + SEGMENT}
    with picture_server(serving(answers)) as server, pytest.raises(SourceUnreachable, match="segment answers 404"):
        read(server.url.replace("/camera", "/live.m3u8"))


def test_a_token_that_is_refused_is_no_missing_password() -> None:
    answers: Answers = {"/live.m3u8?token=abcdef": 403}
    with picture_server(serving(answers)) as server, pytest.raises(AuthenticationFailed, match="may have expired"):
        read(server.url.replace("/camera", "/live.m3u8?token=abcdef"))
