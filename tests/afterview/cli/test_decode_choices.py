"""`--decode`: sampling that follows key frames, and decoding on a GPU."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from afterview.cli.main import main
from afterview.memory.base.settings import read_settings
from afterview.memory.directory import Memory
from afterview.stream.source.decoding.key_frame_decoder import KeyFrameDecoder
from tests.support.clips import picture

START = 1_700_000_000.0


def write(path: Path, times_s: list[float], keys_s: list[float], *, encoder: str = "libx264", bf: int = 0) -> Path:
    """A video of pictures at these times with key frames at those."""
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(encoder, rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuvj420p" if encoder == "mjpeg" else "yuv420p"
        stream.options = (
            {} if encoder == "mjpeg" else {"bf": str(bf), "g": "10000", "sc_threshold": "0", "forced-idr": "1"}
        )
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = round(1000 * time_s), Fraction(1, 1000)
            frame.pict_type = 1 if any(abs(time_s - key_s) < 0.001 for key_s in keys_s) else 0
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def steady(seconds: float, *, rate: float = 10.0, first_s: float = 0.0) -> list[float]:
    return [first_s + number / rate for number in range(round(seconds * rate))]


def replay(path: Path, memory: Path, *options: str, start: float = START) -> Any:
    status = main(["replay", str(path), "--memory", str(memory), "--camera", "door", "--start", str(start), *options])
    assert status == 0
    return Memory(memory).camera("door").snapshot()


@pytest.mark.parametrize("bf", [0, 2])
@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_key_frames_alone_are_remembered_and_decoded(
    container: str, bf: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first key frame at or after each slot, without a gap where pictures came all the time."""
    decoded = []
    decode = KeyFrameDecoder._decode
    monkeypatch.setattr(KeyFrameDecoder, "_decode", lambda self, packet: decoded.append(1) or decode(self, packet))
    keys = [0.0, 0.4, 1.0, 1.2, 5.3, 5.9, 13.5]
    clip = write(tmp_path / f"clip.{container}", steady(16), keys, bf=bf)
    snapshot = replay(clip, tmp_path / "m", "--decode", "keyframes")
    np.testing.assert_allclose(snapshot.times - START, [0.0, 1.0, 5.3, 13.5], atol=0.002)
    assert snapshot.gaps == ()
    assert len(decoded) == 4
    full = replay(clip, tmp_path / "full", "--fps", "10", "--decode", "full")
    places = [round(10 * (time - START)) for time in snapshot.times]
    assert [*snapshot.images(np.arange(4))] == [*full.images(np.array(places))]


def test_a_hole_between_key_frames_is_a_gap(tmp_path: Path) -> None:
    times = [*steady(4), *steady(4, first_s=9.0)]
    clip = write(tmp_path / "clip.mkv", times, [0.0, 2.0, 10.0, 12.0])
    snapshot = replay(clip, tmp_path / "m", "--decode", "keyframes")
    np.testing.assert_allclose(snapshot.times - START, [0, 2, 10, 12], atol=0.002)
    assert [(round(gap.start - START), round(gap.end - START), gap.reason) for gap in snapshot.gaps] == [
        (2, 10, "jump")
    ]


def test_the_record_says_where_sampling_followed_key_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, memory = write(tmp_path / "clip.mp4", steady(6), [0.0, 3.0]), tmp_path / "m"
    for number, options in enumerate([(), ("--decode", "keyframes"), ("--decode", "keyframes"), (), ()]):
        replay(clip, memory, *options, start=START + 100 * number)
        if number == 2:
            assert read_settings(memory / "door").key_frames == ((START + 100, None),)
    assert read_settings(memory / "door").key_frames == ((START + 100, START + 203),)
    capsys.readouterr()
    main(["info", str(memory), "--json"])
    (camera,) = json.loads(capsys.readouterr().out)["cameras"]
    assert [(span["start"], span["end"]) for span in camera["key_frames"]] == [(START + 100, START + 203)]
    main(["info", str(memory)])
    assert "sampled at key frames alone: 2023-11-14" in capsys.readouterr().out


def test_key_frames_of_a_stream_that_is_joined_between_them(tmp_path: Path) -> None:
    """What comes before the first key frame is nobody's picture, and gives the camera no time."""
    whole = write(tmp_path / "whole.ts", steady(12), [0.0, 5.0, 10.0])
    with av.open(str(whole)) as source:
        video = source.streams.video[0]
        places = [packet.pos for packet in source.demux(video) if packet.pts is not None]
    joined = tmp_path / "joined.ts"
    data = whole.read_bytes()
    joined.write_bytes(data[: 188 * 3] + data[places[20] - places[20] % 188 :])  # tables, then from 2 s on
    snapshot = replay(joined, tmp_path / "m", "--decode", "keyframes")
    assert len(snapshot.times) == 2
    assert snapshot.times[1] - snapshot.times[0] == pytest.approx(5.0, abs=0.002)


def test_codecs_of_which_each_picture_stands_alone_lose_nothing(tmp_path: Path) -> None:
    clip = write(tmp_path / "clip.avi", steady(5), [], encoder="mjpeg")
    snapshot = replay(clip, tmp_path / "m", "--decode", "keyframes")
    assert len(snapshot.times) == len(replay(clip, tmp_path / "full").times)


@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_decoding_on_a_gpu(encoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It records what the CPU records (the pictures differ by the conversion to RGB alone), or is refused where there is no GPU."""
    clip = write(tmp_path / "clip.mp4", steady(8), [0.0, 3.3], encoder=encoder)
    if Path("/dev/nvidiactl").exists():
        usual, device = replay(clip, tmp_path / "cpu"), replay(clip, tmp_path / "gpu", "--decode", "cuda")
        assert device.times.tolist() == usual.times.tolist()
        np.testing.assert_allclose(device.tokens(np.arange(8)), usual.tokens(np.arange(8)), atol=0.05)
        return
    assert main(["replay", str(clip), "--memory", str(tmp_path / "m"), "--decode", "cuda"]) == 2
    error = capsys.readouterr().err
    assert "no NVIDIA GPU" in error
    assert "--decode needed" in error
    assert not (tmp_path / "m").exists()
