"""Recordings that say by prft boxes when they were taken, from FFmpeg's own muxer to the memory."""

import threading
from pathlib import Path

import av
import numpy as np
import pytest

from afterview.memory.base.records import TimeBasis
from afterview.memory.directory import Memory
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.model.checkpoint.loading import AfterviewModel, load_pretrained
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.reader import Ended, Opened, read_events
from tests.support.fragmented import START, change_stamps, fragment, write_clip
from tests.support.presets import write_preset
from tests.support.reading import FAST, frames_of, nearest, open_files, read

FLAGS = ["cmaf+frag_keyframe", "frag_keyframe+empty_moov", "frag_keyframe+delay_moov", "cmaf+frag_every_frame"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> AfterviewModel:
    return load_pretrained(write_preset(tmp_path_factory.mktemp("preset")))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


def replay(model: AfterviewModel, memory: Path, video: Path, start: float | None = None) -> tuple[MemorySnapshot, str]:
    """What is remembered of a recording, and how it ended, in words."""

    async def main() -> str:
        async with Session(memory, model.encoders) as session:
            config = IngestConfig(parse_source(str(video)), live=False, fps=5.0, start=start)
            ingest = session.add("gate", config)
            await session.run()
            return ingest.stats.detail

    detail = run_loop(main())
    return Memory(memory).camera("gate").snapshot(), detail


@pytest.mark.parametrize("movflags", FLAGS)
@pytest.mark.parametrize("b_frames", [0, 3])
def test_every_frame_has_its_own_time_however_ffmpeg_fragments_it(movflags: str, b_frames: int, tmp_path: Path) -> None:
    """With B-frames the first is shown two frames late, which FFmpeg writes as an edit list, or as offsets that it reads another way."""
    video = fragment(write_clip(tmp_path / "c.mp4", b_frames=b_frames), tmp_path / "f.mp4", movflags)
    events = read(video)
    assert events[0] == Opened("h264", 160, 120, 10.0, pytest.approx(START, abs=1e-4), own_clock=True)
    frames = frames_of(events)
    assert [nearest(frame, 40) for frame in frames[::13]] == [0, 13, 26, 39]
    assert [frame.source_time for frame in frames] == pytest.approx([START + n / 10 for n in range(40)], abs=1e-4)
    assert events[-1] == Ended("end of file", frames=40)


@pytest.mark.parametrize("movflags", FLAGS)
def test_a_memory_has_the_times_of_the_recordings_own_clock(
    movflags: str, model: AfterviewModel, clip: Path, tmp_path: Path
) -> None:
    snapshot, detail = replay(model, tmp_path / "m", fragment(clip, tmp_path / "f.mp4", movflags))
    assert detail == "end of file"
    np.testing.assert_allclose(snapshot.times, START + np.arange(20) / 5, atol=1e-4)
    np.testing.assert_allclose(snapshot.scalars("source_times", snapshot.ids), snapshot.times, atol=1e-4)
    assert snapshot.time_bases(snapshot.ids) == {"source": 20}


def test_what_a_recording_leaves_out_is_missing_in_the_memory_too(
    model: AfterviewModel, clip: Path, tmp_path: Path
) -> None:
    video = fragment(clip, tmp_path / "f.mp4", FLAGS[0])
    change_stamps(video, [0.0, 0.0, 600.0, 600.0])
    snapshot, _ = replay(model, tmp_path / "m", video)
    expected = START + np.arange(20) / 5 + np.where(np.arange(20) < 10, 0.0, 600.0)
    np.testing.assert_allclose(snapshot.times, expected, atol=1e-4)
    (gap,) = [gap for gap in snapshot.gaps if gap.reason == "jump"]
    assert (gap.start, gap.end) == pytest.approx((expected[9], expected[10]), abs=1e-4)


def test_a_clock_that_was_set_back_never_turns_the_time_line_around(
    model: AfterviewModel, clip: Path, tmp_path: Path
) -> None:
    video = fragment(clip, tmp_path / "f.mp4", FLAGS[0])
    change_stamps(video, [0.0, -0.5, -0.5, -0.5])
    snapshot, _ = replay(model, tmp_path / "m", video)
    np.testing.assert_allclose(np.diff(snapshot.times[:5]), 0.2, atol=1e-4)
    np.testing.assert_allclose(np.diff(snapshot.times[4:9]), 0.1, atol=1e-4)  # at half speed, until it agrees
    np.testing.assert_allclose(snapshot.times[10:], START - 0.5 + np.arange(10, 20) / 5, atol=1e-4)


def test_a_damaged_stamp_costs_nothing_and_is_told(model: AfterviewModel, clip: Path, tmp_path: Path) -> None:
    video = fragment(clip, tmp_path / "f.mp4", FLAGS[0])
    change_stamps(video, [0.0, 86_400.0, 0.0, 0.0])
    snapshot, detail = replay(model, tmp_path / "m", video)
    assert detail == "end of file; 1 damaged prft box ignored"
    np.testing.assert_allclose(snapshot.times, START + np.arange(20) / 5, atol=1e-4)


def test_a_start_that_a_person_gives_comes_first(model: AfterviewModel, clip: Path, tmp_path: Path) -> None:
    video = fragment(clip, tmp_path / "f.mp4", FLAGS[0])
    snapshot, _ = replay(model, tmp_path / "m", video, start=START - 1e6)
    np.testing.assert_allclose(snapshot.times, START - 1e6 + np.arange(20) / 5, atol=1e-3)
    assert set(snapshot.scalars("time_basis", snapshot.ids)) == {TimeBasis.FILE}


def test_a_file_converted_faster_than_it_was_taken_is_not_dated_by_the_conversion(clip: Path, tmp_path: Path) -> None:
    """FFmpeg's `write_prft=wallclock` writes when a fragment was finished, also where it only copies."""
    events = read(fragment(clip, tmp_path / "f.mp4", FLAGS[0], write_prft="wallclock"))
    assert events[0] == Opened("h264", 160, 120, 10.0)
    assert {frame.source_time for frame in frames_of(events)} == {None}
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert "its own clock (prft) is not plausible: it runs 0" in ended.reason


def test_a_cut_off_recording_keeps_its_times(clip: Path, tmp_path: Path) -> None:
    video = fragment(clip, tmp_path / "f.mp4", FLAGS[0])
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 2 // 3])
    frames = frames_of(read(video))
    assert 15 < len(frames) < 40
    assert [frame.source_time for frame in frames] == pytest.approx([START + frame.pts_s for frame in frames], abs=1e-4)


def test_of_several_tracks_the_pictures_own_references_count(clip: Path, tmp_path: Path) -> None:
    """FFmpeg dates the first track alone; where that is the sound, a recording is dated as without."""
    for sound_first in (False, True):
        path = tmp_path / f"{sound_first}.mp4"
        write_with_sound(clip, path, sound_first=sound_first)
        opened, *_, ended = read(path)
        assert isinstance(opened, Opened)
        assert opened.own_clock is not sound_first
        assert opened.start_time == (None if sound_first else pytest.approx(START, abs=1e-3))
        assert ended == Ended("end of file", frames=40)


def write_with_sound(clip: Path, path: Path, *, sound_first: bool) -> None:
    options = {"movflags": "cmaf+frag_keyframe", "write_prft": "pts", "avoid_negative_ts": "disabled"}
    with av.open(str(clip)) as source, av.open(str(path), "w", format="mp4", options=options) as target:
        sound = target.add_stream("aac", rate=8000) if sound_first else None
        pictures = target.add_stream_from_template(source.streams.video[0])
        sound = sound or target.add_stream("aac", rate=8000)
        for number in range(32):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts = 8000, 1024 * number + round(START * 8000)
            target.mux(sound.encode(samples))
        target.mux(sound.encode(None))
        for packet in source.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                shift = round(START * 90_000)
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, pictures
                target.mux(packet)


def test_the_file_is_closed_when_its_reader_is(clip: Path, tmp_path: Path) -> None:
    video, stop = fragment(clip, tmp_path / "f.mp4", FLAGS[0]), threading.Event()
    for _ in read_events(parse_source(str(video)), FAST, stop=stop):
        assert str(video) in open_files()
        stop.set()
    assert str(video) not in open_files()


@pytest.mark.parametrize("movflags", ["dash", "dash+delay_moov"])
def test_an_index_of_times_of_day_is_not_taken_for_a_length(movflags: str, clip: Path, tmp_path: Path) -> None:
    """FFmpeg says of DASH where its index ends; nothing is missing."""
    assert read(fragment(clip, tmp_path / "f.mp4", movflags))[-1] == Ended("end of file", frames=40)
