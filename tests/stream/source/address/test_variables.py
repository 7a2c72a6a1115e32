"""Variables in addresses: what they become, where they stand, and that their values are shown nowhere."""

import os
import sys
import threading
import traceback
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterview.stream.errors import BadUrl, SourceError
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.address.redact import redact, redact_values, shows_password
from afterview.stream.source.reader import SourceConfig, read_events

NASTY = "p@s:s/w?o#r%d &="
VALUES = {
    "AFTERVIEW_USER": "admin@site",
    "AFTERVIEW_PASSWORD": NASTY,
    "AFTERVIEW_HOST": "10.0.0.7:554",
    "AFTERVIEW_PATH": "Streaming/Channels/101",
    "AFTERVIEW_TOKEN": "a=b&c/d",
    "AFTERVIEW_URL": "rtsp://guard:topsecret@camera.example/live",
    "AFTERVIEW_EMPTY": "",
    "AFTERVIEW_ODD": "{AFTERVIEW_PASSWORD}",
}


@pytest.fixture(autouse=True)
def nothing_hidden_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test hides must not be hidden in the next."""
    monkeypatch.setattr("afterview.stream.source.address.redact._values", set())


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        (
            "rtsp://u:{AFTERVIEW_PASSWORD}@cam/x",
            "rtsp://u:p%40s%3As%2Fw%3Fo%23r%25d%20%26%3D@cam/x",
            "rtsp://***@cam/x",
        ),
        (
            "rtsp://{AFTERVIEW_USER}:{AFTERVIEW_PASSWORD}@{AFTERVIEW_HOST}/{AFTERVIEW_PATH}",
            "rtsp://admin%40site:p%40s%3As%2Fw%3Fo%23r%25d%20%26%3D@10.0.0.7:554/Streaming/Channels/101",
            "rtsp://***@{AFTERVIEW_HOST}/{AFTERVIEW_PATH}",
        ),
        ("http://cam/x?t={AFTERVIEW_TOKEN}&q=1", "http://cam/x?t=a%3Db%26c%2Fd&q=1", "http://cam/x?t={AFTERVIEW_TOKEN}&q=1"),
        ("{AFTERVIEW_URL}", "rtsp://guard:topsecret@camera.example/live", "{AFTERVIEW_URL}"),
        ("{AFTERVIEW_URL}/{AFTERVIEW_PATH}", "rtsp://guard:topsecret@camera.example/live/Streaming/Channels/101",
         "{AFTERVIEW_URL}/{AFTERVIEW_PATH}"),
        ("lavfi:testsrc2=size={AFTERVIEW_USER}", "testsrc2=size=admin@site", "lavfi:testsrc2=size={AFTERVIEW_USER}"),
        ("rtsp://u:{AFTERVIEW_ODD}@cam/x", "rtsp://u:%7BAFTERVIEW_PASSWORD%7D@cam/x", "rtsp://***@cam/x"),
    ],
)  # fmt: skip
def test_a_variable_is_encoded_as_its_place_needs_it_and_never_shown(text: str, url: str, shown: str) -> None:
    address = parse_source(text, VALUES)
    assert address.url == url
    assert str(address) == address.redacted == shown
    for value in VALUES.values():
        assert not value or value not in repr(address)


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20))
def test_any_password_arrives_as_it_was_set(password: str) -> None:
    address = parse_source("rtsp://admin:{AFTERVIEW_P}@10.0.0.7:554/live", {"AFTERVIEW_P": password})
    parts = urlsplit(address.url)
    assert unquote(parts.password or "", errors="surrogatepass") == password
    assert (parts.hostname, parts.port, parts.path) == ("10.0.0.7", 554, "/live")
    assert (address.redacted, address.suggested_name) == ("rtsp://***@10.0.0.7:554/live", "live 10.0.0.7")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rtsp://u:{AFTERVIEW_NONE}@cam/x", "AFTERVIEW_NONE, which is not set"),
        ("rtsp://u:{AFTERVIEW_EMPTY}@cam/x", "AFTERVIEW_EMPTY, which is empty"),
        ("{AFTERVIEW_NONE}", "AFTERVIEW_NONE, which is not set"),
        ("rtsp://u:{CAM_PASSWORD}@cam/x", "begin with AFTERVIEW_"),
    ],
)
def test_a_variable_that_is_not_there_is_a_wrong_address(text: str, message: str) -> None:
    with pytest.raises(BadUrl, match=message) as raised:
        parse_source(text, VALUES)
    assert raised.value.exit_status == 2


def test_other_braces_stay_what_they_are(tmp_path: Path) -> None:
    file = tmp_path / "{HALL} {1}.mp4"
    file.write_bytes(b"video")
    assert parse_source(str(file)).url == str(file)
    assert parse_source("http://cam/{1}.mjpg").url == "http://cam/{1}.mjpg"


@pytest.mark.parametrize(
    "text",
    ["rtsp://u:{AFTERVIEW_PASSWORD}@127.0.0.1:1/x", "http://127.0.0.1:1/{AFTERVIEW_PASSWORD}", "{AFTERVIEW_PASSWORD}",
     "rtsp://{AFTERVIEW_PASSWORD}/x", "http://127.0.0.1:{AFTERVIEW_PASSWORD}/", "/dev/{AFTERVIEW_PASSWORD}"],
)  # fmt: skip
def test_no_error_tells_a_value(text: str) -> None:
    with pytest.raises(SourceError) as raised:
        list(read_events(parse_source(text, VALUES), SourceConfig(open_timeout_s=2), stop=threading.Event()))
    said = "".join(traceback.format_exception(raised.value)) + repr(raised.value)
    for secret in (NASTY, "p%40s%3As"):
        assert secret not in said


def test_free_text_that_quotes_a_value_is_cleaned_too() -> None:
    parse_source("rtsp://u:{AFTERVIEW_PASSWORD}@cam/x", VALUES)
    parse_source("{AFTERVIEW_URL}", VALUES)
    for said in (f"cannot log in with {NASTY}", "u:p%40s%3As%2Fw%3Fo%23r%25d%20%26%3D", "topsecret is wrong"):
        for clean in (redact(said), redact_values(said)):
            assert "***" in clean
            assert not any(secret in clean for secret in (NASTY, "p%40s", "topsecret"))
    assert redact_values("camera 12") == "camera 12"


@pytest.mark.parametrize(
    ("text", "shows"),
    [
        ("rtsp://admin:hunter2@cam/x", True),
        ("http://cam/x?token=hunter2", True),
        ("rtsp://admin@cam/x", False),
        ("rtsp://cam/x?user=admin", False),
        ("lavfi:testsrc2=size=640x360:rate=25", False),
        ("rtsp://admin:@cam/x", False),
    ],
)
def test_which_addresses_show_a_password_to_ps(text: str, shows: bool) -> None:
    assert shows_password(text) == shows


def test_the_environment_is_this_process_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "AFTERVIEW_P", "of the process")
    assert parse_source("rtsp://u:{AFTERVIEW_P}@cam/x").url == "rtsp://u:of%20the%20process@cam/x"
    assert not [argument for argument in sys.argv if "of the process" in argument]
