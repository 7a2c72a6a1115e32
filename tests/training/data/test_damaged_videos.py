"""Damaged videos: their missing seconds keep their places, the bank records what is wrong, and the report names every one.

The files are cut or given a hole byte by byte; what is missing is computed from their packets and frame times, not by the code under test.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from afterview.cli.main import main
from afterview.memory.reading.reader import CameraReader
from afterview.model.vision.preprocess import to_square
from afterview.stream.source.coverage import Coverage
from afterview.training.data.extraction import extract
from afterview.training.data.features import FeatureBank, FrameBank, damage_in
from afterview.training.data.report import ItemReport
from afterview.training.data.rows import plan_rows
from afterview.training.data.streams import DataStream, read_streams
from tests.support.annotations import turns, write
from tests.support.clips import make_clip, picture
from tests.support.presets import write_preset

SECONDS, RATE = 20, 5


def clip(
    path: Path,
    container: str,
    when: Callable[[int], int] = int,
    seconds: int = SECONDS,
    gop: int = RATE,
    bf: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """5 frames a second, a key frame every `gop` frames. when: frame -> its time in frames."""
    options = options or ({"movflags": "faststart"} if container == "mp4" else {})
    with av.open(str(path), "w", format=container, options=options) as output:
        stream = output.add_stream("libx264", rate=RATE, options={"g": str(gop), "bf": str(bf), "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(seconds * RATE):
            frame = av.VideoFrame.from_ndarray(picture(number, width=96, height=64), format="rgb24")
            frame.pts = when(number)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def with_hole(path: Path, whole: Path, start_s: float, end_s: float) -> Path:
    """The same file, its packets from start_s to end_s overwritten with zeros."""
    with av.open(str(whole)) as container:
        found = [(float(p.pts * p.time_base), p.pos, p.size) for p in container.demux(video=0) if p.size]
    content = bytearray(whole.read_bytes())
    for time, place, size in found:
        if start_s <= time < end_s:
            content[place : place + size] = bytes(size)
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    whole = clip(root / "whole.mp4", "mp4")
    with_hole(root / "hole.mp4", whole, 7, 13)
    with_hole(root / "start.mp4", whole, 0, 5)
    for name, container in (("half.mp4", "mp4"), ("half.mkv", "matroska"), ("half.ts", "mpegts"), ("half.avi", "avi")):
        content = (whole if container == "mp4" else clip(root / "other", container)).read_bytes()
        (root / name).write_bytes(content[: len(content) // 2 // 188 * 188 + 100])
    content = clip(root / "other", "mp4", options={"movflags": "frag_keyframe+empty_moov"}).read_bytes()
    (root / "fragments.mp4").write_bytes(content[: len(content) // 2])  # states no length
    (root / "other").unlink()
    # Its picture of 6.8 s is to be shown until 13 s, and its file says so.
    clip(root / "held.mp4", "mp4", lambda number: number if number < 35 else number + 30, seconds=14)
    return root


@pytest.fixture(scope="module")
def bank(videos: Path) -> tuple[Path, dict[str, Any]]:
    """All of them in a bank, and what `extract` reports."""
    directory = videos / "bank"
    done = extract([*videos.glob("*.*")], "tiny", directory)
    return directory, done.to_dict()


def rows(directory: Path, name: str) -> torch.Tensor:
    return FeatureBank(directory).load(name)[0].float()


def test_missing_seconds_keep_their_places(bank: tuple[Path, dict[str, Any]]) -> None:
    directory, _ = bank
    whole = rows(directory, "whole.mp4")
    assert len(whole) == SECONDS
    hole = rows(directory, "hole.mp4")
    torch.testing.assert_close(hole[:7], whole[:7])
    torch.testing.assert_close(hole[7:13], whole[6].expand(6, -1, -1))  # as a player would show it
    torch.testing.assert_close(hole[13:], whole[13:])
    start = rows(directory, "start.mp4")
    torch.testing.assert_close(start, torch.cat([whole[5].expand(5, -1, -1), whole[5:]]))
    for name in ("whole.mp4", "hole.mp4", "start.mp4", "held.mp4"):
        assert FeatureBank(directory).load(name)[1] == SECONDS


def test_damage_is_recorded_and_the_report_names_every_damaged_video_and_no_whole_one(
    bank: tuple[Path, dict[str, Any]],
) -> None:
    directory, report = bank
    assert "6 s without a picture (7 to 13 s)" in report["damaged"]["hole.mp4"]
    assert "5 s without a picture (0 to 5 s)" in report["damaged"]["start.mp4"]
    for name in ("half.mp4", "half.mkv", "half.avi"):
        assert "before its stated length" in report["damaged"][name]
    assert "ends within a packet" in report["damaged"]["half.ts"]
    assert "ends within a box" in report["damaged"]["fragments.mp4"]
    assert set(report["damaged"]) == {
        "hole.mp4",
        "start.mp4",
        "half.mp4",
        "half.mkv",
        "half.ts",
        "half.avi",
        "fragments.mp4",
    }
    assert {name: damage_in(directory, name) for name in report["damaged"]} == report["damaged"]
    assert not damage_in(directory, "whole.mp4") + damage_in(directory, "held.mp4")
    assert len(rows(directory, "half.mkv")) < 12  # only what is there


def test_refused_on_request_and_the_others_are_extracted(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(videos / name) for name in ("hole.mp4", "whole.mp4", "half.mkv")]
    command = ["extract", *names, "--out", str(tmp_path / "bank"), "--damaged", "refuse"]
    assert main([*command, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["made"] == ["whole.mp4"]
    assert set(document["failed"]) == {names[0], names[2]}
    assert main(["extract", names[0], "--out", str(tmp_path / "bank")]) == 0
    assert "hole.mp4: damaged: 6 s without a picture" in capsys.readouterr().out
    assert main(command) == 1  # the bank has it by now, and it is damaged all the same
    assert f"{names[0]}: failed: is damaged: 6 s without a picture" in capsys.readouterr().out


def test_extraction_goes_on_after_bad_files_and_lists_them_at_the_end(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "junk.mp4").write_bytes(b"junk" * 500)
    (tmp_path / "junk.pt").write_bytes(b"junk" * 500)
    with_hole(tmp_path / "black.mp4", videos / "whole.mp4", 0, SECONDS)  # opens, but no picture is left
    bad = [str(tmp_path / name) for name in ("empty.mp4", "junk.mp4", "junk.pt", "black.mp4", "missing.mp4")]
    command = ["extract", *bad, str(videos / "whole.mp4"), "--out", str(tmp_path / "bank")]
    assert main([*command, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["made"] == ["whole.mp4"]
    assert set(document["failed"]) == set(bad)
    assert all(document["failed"].values())
    assert main(command) == 1
    last = capsys.readouterr().out.splitlines()[-6:]
    assert all(any(line.startswith(f"{name}: failed: ") for line in last) for name in bad)
    assert last[-1] == f"5 sources failed; the others are in {tmp_path / 'bank'}"


def test_frames_keep_their_places_too(videos: Path, tmp_path: Path) -> None:
    extract([videos / "hole.mp4", videos / "whole.mp4"], "tiny", tmp_path, frames=True)
    hole, whole = (FrameBank(tmp_path).load(name)[0] for name in ("hole.mp4", "whole.mp4"))
    assert hole.shape == whole.shape
    assert torch.equal(hole[7:13], hole[6].expand_as(hole[7:13]))
    assert (hole[13:].float() - whole[13:].float()).abs().mean() < 1


def test_a_training_names_the_items_whose_videos_are_damaged_or_refuses_them(
    bank: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    directory, _ = bank
    items = [{"video": name, "conversations": turns("<image>\nWhat?", "x")} for name in ("whole.mp4", "hole.mp4")]
    path, report = write(tmp_path / "a.json", items), ItemReport()
    (kept,) = read_streams([DataStream(annotations=path, features=directory)], report=report)
    assert len(kept) == 2
    assert [(one.item, one.happened) for one in report.problems] == [(1, "damaged")]
    assert "hole.mp4: is damaged: 6 s without a picture" in report.problems[0].why
    strict, report = DataStream(annotations=path, features=directory, damaged_videos="refuse"), ItemReport()
    (kept,) = read_streams([strict], bad_items="drop", report=report)
    assert [item.number for item in kept] == [0]
    assert [(one.item, one.happened) for one in report.problems] == [(1, "dropped")]


def test_a_camera_of_a_memory_keeps_its_gaps_and_the_bank_says_so(videos: Path, tmp_path: Path) -> None:
    memory = str(tmp_path / "memory")
    assert main(["replay", str(videos / "hole.mp4"), "--memory", memory, "--camera", "gate"]) == 0
    done = extract([Path(memory)], "tiny", tmp_path / "bank")
    assert "without a picture" in done.damaged["gate"]
    frames = CameraReader(Path(memory) / "gate").snapshot().frames
    assert len(rows(tmp_path / "bank", "gate")) == frames == SECONDS - 6


def test_rows_of_videos_that_are_slow_or_of_a_variable_rate() -> None:
    slow = np.arange(6) * 5.0  # one picture every 5 s: none is missing
    assert plan_rows(slow).frames.tolist() == list(range(6))
    assert plan_rows(np.array([0.0])).frames.tolist() == [0]
    assert plan_rows(np.array([0.0, 1.33, 2.0, 3.33, 4.0])).frames.tolist() == [0, 1, 2, 3, 4]
    gap = plan_rows(np.array([0.0, 0.999, 2.0, 6.0, 7.0]))
    assert gap.frames.tolist() == [0, 1, 2, 2, 2, 2, 3, 4]
    assert gap.missing == ((3.0, 6.0),)
    grid = [0.0, 0.4, 0.8, 1.2, 1.6]
    short = plan_rows(np.array([0.0, 0.4, 1.6]), grid)
    assert short.frames.tolist() == [0, 1, 1, 1, 2]
    assert short.missing == ((0.8, 1.6),)


def test_a_picture_that_is_to_be_shown_for_long_is_no_hole() -> None:
    held, lost, unknown = Coverage(), Coverage(), Coverage()
    for time, lasts in ((0.0, 0.2), (0.2, 9.8), (10.0, 0.2)):
        held.picture(time, lasts)
        lost.picture(time, 0.2)
    for number in range(5):  # no durations, and one picture every 5 s
        unknown.picture(5.0 * number, 0.0)
    assert held.holes == []
    assert lost.holes == [(0.4, 10.0)]
    assert unknown.holes == []


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset whose recordings are sampled as published."""
    return write_preset(tmp_path_factory.mktemp("preset"), short_videos="published")


def test_a_short_video_that_is_sampled_as_published_has_the_published_frames_and_states_its_length(
    videos: Path, published: Path, tmp_path: Path
) -> None:
    long = make_clip(tmp_path / "long.mp4", frames=300, rate=20, width=96, height=64)  # 15 s
    extract([videos / "whole.mp4", long], str(published), tmp_path / "bank", frames=True)
    for path, total, rate in ((videos / "whole.mp4", 100, 5), (long, 300, 20)):
        frames, seconds = FrameBank(tmp_path / "bank").load(path.name)
        assert len(frames) == min(total, 128)
        assert seconds == total / rate
        with av.open(str(path)) as container:
            every = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        side = frames.shape[1]
        expected = [to_square(every[n], side) for n in np.linspace(0, total - 1, min(total, 128), dtype=int)]
        # A JPEG lies between; another frame differs by far more.
        assert np.abs(frames.numpy().astype(int) - np.stack(expected)).mean(axis=(1, 2, 3)).max() < 4


def test_missing_frames_of_a_short_video_keep_their_places(videos: Path, published: Path, tmp_path: Path) -> None:
    done = extract([videos / "whole.mp4", videos / "hole.mp4"], str(published), tmp_path)
    whole, hole = rows(tmp_path, "whole.mp4"), rows(tmp_path, "hole.mp4")
    assert len(whole) == len(hole) == 100
    torch.testing.assert_close(hole[:35], whole[:35])
    torch.testing.assert_close(hole[65:], whole[65:])
    torch.testing.assert_close(hole[35:65], whole[34].expand(30, -1, -1))
    assert "6 s without a picture (7 to 13 s)" in done.damaged["hole.mp4"]
    assert FeatureBank(tmp_path).load("hole.mp4")[1] == SECONDS


def test_what_an_edit_list_cuts_off_is_not_missing(tmp_path: Path) -> None:
    """A cut without encoding keeps the pictures since the last key frame, for the decoder alone."""
    with (
        av.open(str(clip(tmp_path / "whole.mp4", "mp4", gop=50))) as whole,
        av.open(str(tmp_path / "cut.mp4"), "w", options={"avoid_negative_ts": "disabled", "use_editlist": "1"}) as cut,
    ):
        video = whole.streams.video[0]
        stream = cut.add_stream_from_template(video)
        for packet in whole.demux(video):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts = (int(time - 3.5 / video.time_base) for time in (packet.pts, packet.dts))
                packet.stream = stream
                cut.mux(packet)
    done = extract([tmp_path / "cut.mp4"], "tiny", tmp_path / "bank")
    assert done.damaged == {}
    assert len(rows(tmp_path / "bank", "cut.mp4")) == SECONDS - 3


def test_whole_videos_of_other_forms_are_not_called_damaged(tmp_path: Path) -> None:
    """Of a variable rate with reordered pictures, and with sound that is longer than the video."""
    clip(tmp_path / "held.mp4", "mp4", lambda number: number if number < 20 else number + 30, seconds=8, bf=3)
    with (
        av.open(str(clip(tmp_path / "silent.mkv", "matroska", seconds=6))) as silent,
        av.open(str(tmp_path / "sound.mkv"), "w") as output,
    ):
        video = silent.streams.video[0]
        stream, sound = output.add_stream_from_template(video), output.add_stream("pcm_s16le", rate=8000)
        for second in range(15):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = 8000, 8000 * second
            output.mux(sound.encode(frame))
        for packet in silent.demux(video):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    done = extract([tmp_path / "held.mp4", tmp_path / "sound.mkv"], "tiny", tmp_path / "bank")
    assert done.damaged == {}
    assert [len(rows(tmp_path / "bank", name)) for name in ("held.mp4", "sound.mkv")] == [14, 6]
