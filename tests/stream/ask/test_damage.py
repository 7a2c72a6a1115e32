"""Recordings that are damaged, cut off or no video at all: what can be shown is shown, the rest is said in one line."""

import subprocess
import sys
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from afterview.stream.errors import NotAVideo
from afterview.stream.media import VideoWriter, encode_jpeg
from afterview.stream.source.reader import Ended
from tests.support.clips import make_clip, picture
from tests.support.reading import frames_of, nearest, read

ROOT = Path(__file__).parents[3]


def test_a_file_cut_off_gives_what_it_has_and_says_so(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", frames=100)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    events = read(cut)
    frames = frames_of(events)
    assert 30 < len(frames) < 70
    assert nearest(frames[20], 100) == 20
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert "before its stated length" in ended.reason
    assert float(ended.reason.split("stops ")[1].split(" s")[0]) == pytest.approx(10 - len(frames) / 10, abs=0.2)


def test_a_late_start_is_not_taken_for_an_early_end(tmp_path: Path) -> None:
    """Matroska states where a video ends by its own clock."""
    with VideoWriter(tmp_path / "late.mkv", 160, 120, 10) as video:
        for number in range(30):
            video.write(picture(number), pts_s=100 + number / 10)
    assert read(tmp_path / "late.mkv")[-1] == Ended("end of file", frames=30)


def test_an_mp4_without_its_index_is_no_video(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=50)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(NotAVideo, match=r"cut\.mp4: the recording was never finished") as raised:
        read(cut)
    assert raised.value.exit_status == 2


def spoil(clip: Path, spoilt: Path, packets: set[int]) -> None:
    """Copy a clip with the payload of some packets overwritten by noise."""
    data, noise = bytearray(clip.read_bytes()), np.random.default_rng(0)
    with av.open(str(clip)) as container:
        for number, packet in enumerate(container.demux(video=0)):
            if number in packets and packet.pos is not None:
                start = data.index(bytes(packet))
                data[start : start + packet.size] = noise.integers(0, 256, packet.size, dtype=np.uint8).tobytes()
    spoilt.write_bytes(data)


@pytest.mark.parametrize(("suffix", "codec"), [("webm", "libvpx-vp9"), ("avi", "mpeg4"), ("mp4", "libx265")])
def test_damaged_packets_are_skipped_and_counted(tmp_path: Path, suffix: str, codec: str) -> None:
    clip = make_clip(tmp_path / f"clip.{suffix}", frames=60, codec=codec)
    spoilt = tmp_path / f"spoilt.{suffix}"
    spoil(clip, spoilt, {23, 24, 25, 26, 27})
    events = read(spoilt)
    ended, frames = events[-1], frames_of(events)
    assert isinstance(ended, Ended)
    assert 1 <= ended.damaged <= 10
    assert f"{ended.damaged} damaged packet" in ended.reason
    assert frames[-1].damaged == ended.damaged
    assert frames[0].damaged == 0
    assert nearest(frames[-1], 60) == 59  # good again after the next key frame


def test_a_file_of_which_nothing_can_be_decoded_is_no_video(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.webm", frames=30, codec="libvpx-vp9")
    spoil(clip, tmp_path / "spoilt.webm", set(range(30)))
    with pytest.raises(NotAVideo, match=r"not one picture .*30 damaged packets"):
        read(tmp_path / "spoilt.webm")


def test_sound_text_and_cover_pictures_are_no_video(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16_000))
    (tmp_path / "notes.txt").write_text("line one\nline two\n" * 50)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).integers(0, 256, 50_000, dtype=np.uint8).tobytes())
    write_song_with_cover(tmp_path / "song.mp4")
    for name, said in [
        ("sound.wav", "only sound or text"),
        ("notes.txt", "only sound or text"),
        ("noise.mp4", "not a video"),
        ("song.mp4", "only a cover picture"),
    ]:
        with pytest.raises(NotAVideo, match=said) as raised:
            read(tmp_path / name)
        assert str(raised.value).startswith(str(tmp_path / name))


def write_song_with_cover(path: Path) -> None:
    cover = av.Packet(encode_jpeg(picture(1), 120))
    with av.open(str(path), "w") as target:
        sound = target.add_stream("aac", rate=8000)
        image = target.add_stream("mjpeg", rate=1)
        image.width, image.height, image.pix_fmt = 160, 120, "yuvj420p"
        image.disposition = av.stream.Disposition.attached_pic
        for number in range(8):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts = 8000, 1024 * number
            target.mux(sound.encode(samples))
        target.mux(sound.encode(None))
        cover.stream, cover.pts, cover.dts, cover.time_base = image, 0, 0, image.time_base
        target.mux(cover)


def test_nothing_is_written_on_standard_error_by_the_libraries(tmp_path: Path) -> None:
    spoil(make_clip(tmp_path / "clip.mp4", frames=30), tmp_path / "spoilt.mp4", set(range(3, 12)))
    script = (
        "import sys, threading, numpy as np\n"
        "from stream.source.address.address import parse_source; from stream.media import VideoWriter; from stream.source.reader import *\n"
        "with VideoWriter(sys.argv[2], 64, 48, 10, 'libx265') as video: video.write(np.zeros((48, 64, 3), np.uint8))\n"
        "print(sum(1 for _ in read_events(parse_source(sys.argv[1]), SourceConfig(), stop=threading.Event())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "spoilt.mp4", tmp_path / "new.mp4"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 2
