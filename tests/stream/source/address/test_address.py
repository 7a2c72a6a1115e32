"""What may be named as a source, and what is said of what may not."""

from pathlib import Path

import pytest

from afterview.stream.errors import BadUrl, NotAVideo, SourceNotFound
from afterview.stream.source.address.address import SourceAddress, parse_source
from tests.support.clips import make_clip
from tests.support.reading import frames_of, read


@pytest.mark.parametrize(
    ("text", "kind", "live", "name"),
    [
        ("rtsp://10.0.0.7:554/front/live.sdp", "rtsp", True, "live 10.0.0.7"),
        ("RTSPS://cam/door", "rtsp", True, "door cam"),
        ("https://host/a/index.m3u8?x=1", "hls", True, "index host"),
        ("http://admin:secret@cam/video.mjpg", "http", True, "video cam"),
        ("srt://:9000?mode=listener", "network", True, "srt"),
        ("rtmp://cam/door:7", "network", True, "door:7 cam"),
        ("lavfi:testsrc2=size=64x48:rate=5", "pattern", True, "testsrc2"),
    ],
)
def test_addresses_are_recognised(text: str, kind: str, live: bool, name: str) -> None:
    address = parse_source(text)
    assert (address.kind, address.live, address.suggested_name) == (kind, live, name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("rtsp:/10.0.0.7/live", "write rtsp://host/path"),
        ("rtsp://", "no host"),
        ("rtsp:///live", "no host"),
        ("http://host:99999/", "port is not valid"),
        ("http://host:0/", "port 0"),
        ("rtsp://host/a b", "white space"),
        ("rtps://host/live", "cannot read 'rtps' addresses"),
        ("http://[::1/x", "not valid"),
        ("lavfi:", "no filter graph given"),
    ],
)
def test_malformed_addresses_are_refused(text: str, said: str) -> None:
    with pytest.raises(BadUrl, match=said) as raised:
        parse_source(text)
    assert raised.value.exit_status == 2


def test_files_and_what_is_none(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "front door: 7.mp4", frames=2)
    for text in (str(clip), clip.as_uri()):
        assert parse_source(text) == SourceAddress("file", str(clip), str(clip), False, clip.stem)
    (tmp_path / "empty.mp4").touch()
    for text, kind, said in [
        (str(tmp_path / "missing.mp4"), SourceNotFound, "no such file"),
        (str(tmp_path), NotAVideo, "folder"),
        (str(tmp_path / "empty.mp4"), NotAVideo, "empty"),
        ("/dev/video99", SourceNotFound, "no such device"),
        ("a\0b", SourceNotFound, "no such file"),
        ("~nobody-of-that-name/x.mp4", SourceNotFound, "no such file"),
    ]:
        with pytest.raises(kind, match=said) as raised:
            parse_source(text)
        assert raised.value.exit_status == 2


@pytest.mark.parametrize("name", ["16:38:41.mp4", "cam:front.mp4", "rtsp:door.mp4", "file:1.mp4"])
def test_a_file_name_with_a_colon_is_a_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clip(tmp_path / "clip.mp4", frames=2).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    address = parse_source(name)
    assert (address.kind, address.live, address.redacted) == ("file", False, name)
    assert len(frames_of(read(name))) == 2
    assert len(frames_of(read(tmp_path / name))) == 2
