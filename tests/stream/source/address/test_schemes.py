"""Every notation that people have for a camera is read, or refused with the remedy."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from afterview.cli.main import main
from afterview.stream.errors import BadUrl, SourceError, SourceNotFound
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.failures.failures import explain_opening
from afterview.stream.source.opening.dialing import dialing
from afterview.stream.source.probe import probe
from afterview.stream.source.reader import Event, Frame, SourceConfig, read_events
from tests.support.clips import make_clip
from tests.support.rtp_senders import SdpCamera, TunnelCamera

QUICK = SourceConfig(open_timeout_s=8, read_timeout_s=8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=20)


def frames(source: object, count: int, config: SourceConfig = QUICK) -> list[Event]:
    stop, found = threading.Event(), list[Event]()
    for event in read_events(parse_source(str(source)), config, stop=stop):
        found += [event] * isinstance(event, Frame)
        if len(found) == count:
            stop.set()
    return found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-", r"watch 'tcp://127.0.0.1:5000\?listen'"),
        ("/dev/stdin", "standard input"),
        ("pipe:0", "standard input"),
        ("ffmpeg:rtsp://user:geheim@cam/x#video=h264", "give the address behind it.*here: rtsp://\\*\\*\\*@cam/x$"),
        ("ffmpeg:front", "go2rtc's notation"),
        ("exec:ffmpeg -i x -f rtsp {output}", "go2rtc's notation"),
        ("echo:script.sh", "go2rtc's notation"),
        ("tapo://geheim@cam", "go2rtc's notation"),
        ("webrtc://host/x", "offer the same stream as RTSP"),
        ("whep://host/x", "offer the same stream as RTSP"),
        ("onvif://admin:geheim@cam", "names a camera, not its stream"),
        ("mms://host/x", "write mmsh://"),
        ("rtspx://host/x", "write rtsps://"),
        ("rtspu://host/x", "and --udp"),
        ("rist://host:1", "turn it into RTSP"),
        ("sftp://host/x.mp4", "copy or mount them"),
        ("rtps://host/x", "known are file, rtsp, .*, unix$"),
        ("tcp://:5000", "there is no host"),
    ],
)
def test_a_notation_that_is_not_read_names_the_remedy(text: str, said: str) -> None:
    with pytest.raises(BadUrl, match=said) as raised:
        parse_source(text)
    assert "geheim" not in str(raised.value)


@pytest.mark.parametrize("text", ["concat:a.mp4|b.mp4", "data:video/mp4;base64,AA", "subfile,,start,0,end,9,,:a.mp4"])
def test_protocols_that_reach_into_files_are_no_addresses(text: str) -> None:
    with pytest.raises(SourceNotFound, match="no such file"):
        parse_source(text)


def test_an_empty_login_is_none(clip: Path) -> None:
    for text in ("udp://@:1234", "udp://@239.0.0.1:1234"):  # VLC's notation
        address = parse_source(text)
        assert (address.kind, address.url, address.redacted, address.live) == ("network", text, text, True)


def test_a_number_is_a_webcam_unless_a_file_has_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceNotFound, match=r"^/dev/video7: no such device"):
        parse_source("7")
    (tmp_path / "7").write_bytes(clip.read_bytes())
    address = parse_source("7")
    assert (address.kind, address.redacted, address.live) == ("file", "./7", False)
    assert main(["watch", "7"]) == 2
    assert "./7: is a file; use `afterview replay`" in capsys.readouterr().err


def test_a_description_of_rtp_is_a_live_source(clip: Path, tmp_path: Path) -> None:
    with SdpCamera(clip, tmp_path / "camera.sdp") as camera:
        address = parse_source(str(camera.sdp))
        assert (address.kind, address.live, address.suggested_name) == ("sdp", True, "camera")
        assert parse_source(camera.sdp.as_uri()).kind == "sdp"
        found = frames(camera.sdp, 5)
        assert isinstance(found[4], Frame)
        assert found[4].pts_s == pytest.approx(0.4, abs=0.02)
        with pytest.raises(BadUrl, match="RTP alone does not say what it carries; write the sender's description"):
            frames(f"rtp://127.0.0.1:{camera.port}", 1)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:{port}?listen", "unix:{folder}/socket"])
def test_other_transports_carry_what_they_carry(address: str, clip: Path, tmp_path: Path) -> None:
    stream = tmp_path / "clip.ts"
    with av.open(str(clip)) as source, av.open(str(stream), "w", format="mpegts") as output:
        copy = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                output.mux(packet)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def dial() -> None:
        for _ in range(200):
            with socket.socket() as sender:
                if sender.connect_ex(("127.0.0.1", port)) == 0:
                    sender.sendall(stream.read_bytes())
                    return
            threading.Event().wait(0.02)

    def serve() -> None:
        with listener.accept()[0] as client:
            client.sendall(stream.read_bytes())

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    listener.listen()
    work: Callable[[], None] = dial if "listen" in address else serve
    sender = threading.Thread(target=work, daemon=True)
    sender.start()
    assert len(frames(address.format(port=port, folder=tmp_path), 5)) == 5
    sender.join(5)
    listener.close()


def test_rtsp_goes_through_an_http_tunnel(clip: Path) -> None:
    with TunnelCamera(clip) as camera:
        assert len(frames(camera.url, 5, QUICK.model_copy(update={"rtsp_transport": "http"}))) == 5


@pytest.mark.parametrize(
    ("url", "transport", "told"),
    [
        ("rtsp://cam/x", "tcp", "tcp"),
        ("rtsp://cam/x", "udp", "udp"),
        ("rtsp://cam/x", "multicast", "udp_multicast"),
        ("rtsp://cam/x", "http", "http"),
        ("rtsps://cam/x", "http", "https"),
    ],
)
def test_ffmpeg_is_told_the_transport(url: str, transport: str, told: str) -> None:
    config = QUICK.model_copy(update={"rtsp_transport": transport})
    assert dialing(parse_source(url), config).options["rtsp_transport"] == told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rtsp://127.0.0.1:1/x", "--udp", "--transport", "tcp"], "--udp and --transport tcp contradict each other"),
        (["http://127.0.0.1:1/x", "--transport", "http"], "--transport: is for rtsp:// only"),
        (["http://127.0.0.1:1/x", "--udp"], "--udp: is for rtsp:// only"),
    ],
)
def test_a_transport_that_makes_no_sense_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["watch", *arguments, "--memory", str(tmp_path / "m")]) == 2
    assert said in capsys.readouterr().err


def test_srt_is_refused_before_a_model_is_loaded_and_not_tried_for_ever() -> None:
    address = parse_source("srt://127.0.0.1:1")
    try:
        av.open("srt://127.0.0.1:0", timeout=0.5)
    except av.error.ProtocolNotFoundError:
        pass
    except Exception:
        pytest.skip("this build of FFmpeg speaks SRT")
    with pytest.raises(BadUrl, match=r"lacks SRT; let MediaMTX, go2rtc or ffmpeg turn it into RTSP"):
        probe(address, QUICK)
    with pytest.raises(BadUrl, match="lacks SRT"):
        list(read_events(address, QUICK, stop=threading.Event(), keep_trying=True))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied"), "sudo usermod -aG video"),
        (OSError(16, "Device or resource busy"), "another program uses the camera; `fuser -v /dev/null` names it"),
        (OSError(19, "No such device"), "unplug it"),
        (OSError(25, "Inappropriate ioctl"), "is not a camera"),
    ],
)
def test_a_webcam_that_cannot_be_opened_names_the_remedy(error: OSError, said: str) -> None:
    explained = explain_opening(error, parse_source(os.devnull), 10, took_s=0)
    assert isinstance(explained, SourceError)
    assert said in str(explained)
