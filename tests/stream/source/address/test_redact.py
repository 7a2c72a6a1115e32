"""Credentials never survive: in addresses, in free text that quotes them, in reprs, and in errors from the real library."""

import re
import string
import threading
import time
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterview.stream.errors import BadUrl, SourceError
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.address.redact import redact, redact_address
from afterview.stream.source.reader import SourceConfig, read_events


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:hunter2@10.0.0.7:554/live", "rtsp://***@10.0.0.7:554/live"),
        ("rtsp://admin@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("rtsp://admin:p@ss@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("rtsp://admin:hun/ter2@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("rtsp://admin:12/ter2@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("rtsp://admin:hun?ter2@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("rtsp://admin:hun#ter2@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("rtsp://admin:12?ter2@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("rtsp:/admin:hunter2@10.0.0.7/live", "rtsp:/***@10.0.0.7/live"),
        ("HTTPS://A:B@host/x", "HTTPS://***@host/x"),
        ("http://host/live.m3u8?token=hunter2&quality=high", "http://host/live.m3u8?token=***&quality=high"),
        ("http://host/x?quality=high&Signature=hunter2", "http://host/x?quality=high&Signature=***"),
        ("http://host/x?api_key=hunter2#t=10", "http://host/x?api_key=***#t=10"),
        ("http://host/x?X-Amz-Credential=hunter2", "http://host/x?X-Amz-Credential=***"),
        ("http://host/x?%74oken=hunter2", "http://host/x?%74oken=***"),
        ("http://host/x?url=rtsp%3A%2F%2Fadmin%3Ahunter2%40cam%2F", "http://host/x?url=***"),
        ("http://cam/cgi?user=admin&pwd=hunter2", "http://cam/cgi?user=***&pwd=***"),
        ("cannot open 'rtsp://admin:hunter2@cam/live': refused", "cannot open 'rtsp://***@cam/live': refused"),
        ("login failed: password=hunter2, try again", "login failed: password=*** try again"),
        ("two: rtsp://a:hunter2@b/ and rtsp://c:hunter2@d/", "two: rtsp://***@b/ and rtsp://***@d/"),
    ],
)
def test_hides_credentials_and_nothing_else(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://10.0.0.7:554/live/ch1?keyframe=1",
        "http://host/@user/live.m3u8",
        "http://host/x?email=me@example.org&channel=2",
        "lavfi:testsrc2=size=640x360:rate=25",
        "front door.mp4",
        "a mail to me@example.org",
    ],
)
def test_leaves_what_is_no_secret(text: str) -> None:
    assert redact(text) == text


PASSWORD_LETTERS = string.ascii_letters + string.digits + "!$%&()*+,-./:;=?@[]^_`{|}~#"


@given(st.text(PASSWORD_LETTERS, min_size=1, max_size=20))
def test_no_unescaped_password_survives_in_an_address(password: str) -> None:
    shown = redact(f"rtsp://admin:{password}@10.0.0.7:554/live")
    assert shown == "rtsp://***@10.0.0.7:554/live"


@given(st.text(PASSWORD_LETTERS, min_size=6, max_size=20).map(lambda middle: f"Zq{middle}Qz"))
def test_parsing_never_quotes_the_password(password: str) -> None:
    try:
        said = repr(parse_source(f"rtsp://admin:{password}@10.0.0.7:554/live"))
    except BadUrl as error:
        said = str(error)
    assert password not in said
    assert "admin" not in said


def everything_said(error: BaseException) -> str:
    """The text, the repr and the whole traceback with every chained error."""
    chained = []
    link: BaseException | None = error
    while link is not None:
        chained += [str(link), repr(link), repr(link.args), repr(getattr(link, "filename", None))]
        link = link.__cause__ or link.__context__
    return "\n".join([*chained, *traceback.format_exception(error)])


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:hunter2@127.0.0.1:1/live?token=hunter2",
        "http://admin:hunter2@127.0.0.1:1/live.m3u8?sig=hunter2",
        "rtmp://admin:hunter2@127.0.0.1:1/app/key",
        "http://admin:hunter2@127.0.0.1:notaport/",
        "rtsp://admin:hunter2@/live",
        "gopher://admin:hunter2@host/",
    ],
)
def test_no_error_tells_the_credentials(url: str) -> None:
    with pytest.raises(SourceError) as raised:
        list(read_events(parse_source(url), SourceConfig(open_timeout_s=2), stop=threading.Event()))
    said = everything_said(raised.value)
    assert "hunter2" not in said
    assert "admin" not in said
    assert "***" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_event_tells_the_credentials() -> None:
    address = parse_source("rtsp://admin:hunter2@127.0.0.1:1/live?token=hunter2")
    stop = threading.Event()
    events = []
    for event in read_events(address, SourceConfig(), stop=stop, keep_trying=True, sleep=lambda seconds: None):
        events.append(repr(event))
        if len(events) == 3:
            stop.set()
    assert [said.partition("(")[0] for said in events] == ["Lost", "Retry", "Retry"]
    assert not [said for said in (*events, repr(address), str(address)) if "hunter2" in said or "admin" in said]


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://admin:hun ter2@camera/live",
        'rtsp://admin:hun"ter2@camera/live',
        "rtsp://admin:<hun'ter2>@camera/live",
        "http://camera/live.m3u8?token=hun ter2",
        "admin:hunter2@camera/live",
        "rtsp:admin:hunter2@camera",
        "lavfi:movie=rtsp\\\\://admin\\\\:hunter2@camera/live",
    ],
)
def test_malformed_addresses_do_not_tell_their_credentials(text: str) -> None:
    try:
        shown = repr(parse_source(text))
    except SourceError as error:
        shown = everything_said(error)
    assert "***" in shown
    assert not re.search("admin|hun|ter2", shown)


@pytest.mark.parametrize("text", ["rtsp://host:554/live?channel=1", "clips/me@home.mp4", "12:30.mp4"])
def test_addresses_without_credentials_stay_as_they_are(text: str) -> None:
    assert redact_address(text) == text


@pytest.mark.parametrize("text", ["1" * 400_000, "a." * 200_000, "a:" * 200_000, "a:/" * 130_000, "a:b@" * 100_000])
def test_a_long_text_of_a_hostile_server_takes_no_long_time(text: str) -> None:
    began = time.process_time()
    for hide in (redact, redact_address):
        assert hide(text)
    assert (
        time.process_time() - began < 3.0
    )  # in proportion to its square it would be minutes, in which nothing else runs


@pytest.mark.parametrize("before", ["", "1", "_", "see:", "x-"])
def test_whatever_stands_before_an_address(before: str) -> None:
    assert "pass-word" not in redact(f"it said {before}rtsp://me:pass-word@host/1 and ended")
