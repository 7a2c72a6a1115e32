"""`replay` of many files: order, gaps, overlaps, broken files, and what is there already."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import pytest

from afterview.cli.main import main
from afterview.memory.directory import Memory
from afterview.stream.ingest.archive import ArchiveReading, FileOutcome
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.media import VideoWriter
from afterview.stream.source.recordings.archive import ArchivedFile
from tests.support.archives import write_recording
from tests.support.clips import make_clip, picture
from tests.support.fragmented import fragment, write_clip

START = datetime(2024, 5, 1, 13, 5, 0, tzinfo=UTC).timestamp()


def replay(capsys: pytest.CaptureFixture[str], memory: Path, *arguments: object) -> tuple[int, dict[str, Any], str]:
    """Exit status, the JSON document, standard error."""
    capsys.readouterr()
    status = main(
        ["replay", *map(str, arguments), "--memory", str(memory), "--timezone", "UTC", "--camera", "front", "--json"]
    )
    out, error = capsys.readouterr()
    return status, json.loads(out) if out else {}, error


def times(memory: Path) -> list[float]:
    return [moment - START for moment in Memory(memory).camera("front").snapshot().times.tolist()]


def states(document: dict[str, Any]) -> dict[str, str]:
    return {Path(file["file"]).name: file["state"] for file in document["files"]}


def frigate(folder: Path, minute: int, second: int, *, camera: str = "front", seconds: float = 4.0) -> Path:
    return write_recording(
        folder / "2024-05-01" / "13" / camera / f"{minute:02}.{second:02}.mp4",
        seconds=seconds,
        first=60 * minute + second,
    )


def test_a_folder_is_recorded_in_order_of_time_with_its_gaps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nvr = tmp_path / "nvr"
    for minute, second in ((5, 4), (5, 0), (6, 0)):
        frigate(nvr, minute, second)
    (nvr / "notes.txt").write_text("x")
    status, document, error = replay(capsys, tmp_path / "m", nvr)
    assert status == 0, error
    assert times(tmp_path / "m") == [*range(8), *range(60, 64)]
    gaps = Memory(tmp_path / "m").camera("front").snapshot().gaps
    assert [(gap.start - START, gap.end - START, gap.reason) for gap in gaps] == [(7, 60, "not recording")]
    assert [(file["recorded"], file["clock"], file["start"]) for file in document["files"]] == [
        (4, "name", START), (4, "name", START + 4), (4, "name", START + 60)
    ]  # fmt: skip
    assert [Path(path).name for path in document["left_out"]] == ["notes.txt"]
    assert "notes.txt" in error

    with monkeypatch.context() as patched:  # nothing new: no model is loaded, and nothing decoded
        patched.setattr("afterview.model.checkpoint.loading.load_encoders", None)
        status, document, _ = replay(capsys, tmp_path / "m", nvr)
    assert (status, set(states(document).values()), document["recorded"]) == (0, {"present"}, 0)
    frigate(nvr, 6, 4)
    status, document, _ = replay(capsys, tmp_path / "m", nvr)
    assert (status, states(document)["06.04.mp4"], document["recorded"]) == (0, "recorded", 4)
    assert times(tmp_path / "m")[-5:] == [63, 64, 65, 66, 67]
    assert len(Memory(tmp_path / "m").camera("front").snapshot().gaps) == 1


def test_after_an_interruption_it_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nvr = tmp_path / "nvr"
    for second in (0, 4, 10):
        frigate(nvr, 5, second)
    lapse = nvr / "2024-05-01" / "13" / "front" / "07.00.mp4"
    with VideoWriter(lapse, 160, 120, 5) as writer:  # a picture every six seconds: that is its pace, and no gap
        for number in range(6):
            writer.write(picture(number), pts_s=6.0 * number)
    assert replay(capsys, tmp_path / "whole", nvr)[0] == 0

    left = [0]
    recorded = ArchiveReading.recorded

    def fail(self: ArchiveReading, when: float) -> None:
        recorded(self, when)
        left[0] -= 1
        if left[0] == 0:
            raise RuntimeError("killed")

    monkeypatch.setattr(ArchiveReading, "recorded", fail)
    for frames in (2, 6, 7):  # inside a file, at the end of one, inside the time-lapse
        left[0] = frames
        assert replay(capsys, tmp_path / "parts", nvr)[0] == 1
    left[0] = 0
    assert replay(capsys, tmp_path / "parts", nvr)[0] == 0
    whole, parts = (Memory(tmp_path / name).camera("front").snapshot() for name in ("whole", "parts"))
    assert parts.times.tolist() == whole.times.tolist()
    assert [(gap.start, gap.end, gap.reason) for gap in parts.gaps] == [
        (gap.start, gap.end, gap.reason) for gap in whole.gaps
    ]
    assert [parts.image(frame) for frame in parts.ids.tolist()] == [whole.image(frame) for frame in whole.ids.tolist()]
    assert [gap.reason for gap in whole.gaps] == ["not recording", "not recording"]


@pytest.mark.slow
def test_a_killed_process_is_gone_on_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for second in (0, 4, 8):
        frigate(tmp_path / "nvr", 5, second)
    command = [sys.executable, "-m", "afterview", "replay", str(tmp_path / "nvr"), "--memory", str(tmp_path / "m")]
    killed = subprocess.run(
        [*command, "--camera", "front", "--timezone", "UTC"],
        env={**os.environ, "AFTERVIEW_FAILPOINT": "append.after-write:6"}, capture_output=True, timeout=120,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    assert 0 < len(times(tmp_path / "m")) < 12
    assert replay(capsys, tmp_path / "m", tmp_path / "nvr")[0] == 0
    assert times(tmp_path / "m") == [*range(12)]
    assert len(Memory(tmp_path / "m").camera("front").snapshot().gaps) == 0


def test_overlaps_broken_and_older_files_are_counted_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nvr = tmp_path / "nvr"
    frigate(nvr, 5, 0)
    frigate(nvr, 5, 2)
    broken = nvr / "2024-05-01" / "13" / "front" / "05.30.mp4"
    broken.write_bytes(b"\0" * 5000)
    frigate(nvr, 6, 0)
    status, document, error = replay(capsys, tmp_path / "m", nvr)
    assert status == 1
    assert times(tmp_path / "m") == [0, 1, 2, 3, 4, 5, 60, 61, 62, 63]
    assert states(document) == {
        "05.30.mp4": "failed",
        "05.00.mp4": "recorded",
        "05.02.mp4": "recorded",
        "06.00.mp4": "recorded",
    }
    assert [file["skipped"] for file in document["files"]] == [0, 0, 2, 0]
    assert "05.30.mp4" in error

    broken.unlink()
    frigate(nvr, 5, 40)
    status, document, error = replay(capsys, tmp_path / "m", nvr)
    assert (status, document["recorded"]) == (1, 0)
    assert states(document) == {
        "05.00.mp4": "present",
        "05.02.mp4": "present",
        "05.40.mp4": "older",
        "06.00.mp4": "present",
    }
    assert "lies before the newest frame" in error
    assert len(times(tmp_path / "m")) == 10


@pytest.mark.parametrize("name", ["2024-05-01_13-05-00.ts", "2024-05-01_13-05-00.mpg"])
def test_a_file_whose_length_is_only_estimated_is_looked_through_again(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nvr").mkdir()
    make_clip(tmp_path / "nvr" / name, frames=80, rate=25, codec="mpeg2video")
    assert (replay(capsys, tmp_path / "m", tmp_path / "nvr")[0], times(tmp_path / "m")) == (0, [0, 1, 2, 3])
    status, document, _ = replay(capsys, tmp_path / "m", tmp_path / "nvr")
    assert (status, states(document), document["recorded"]) == (0, {name: "present"}, 0)


def test_recordings_of_several_cameras_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frigate(tmp_path / "nvr", 5, 0)
    frigate(tmp_path / "nvr", 5, 0, camera="back")
    status, _, error = replay(capsys, tmp_path / "m", tmp_path / "nvr")
    assert (status, "2 cameras (back, front)" in error) == (2, True)
    assert not (tmp_path / "m").exists()
    status, document, _ = replay(capsys, tmp_path / "m", tmp_path / "nvr/*/*/front/*.mp4")
    assert (status, len(document["files"]), document["recorded"]) == (0, 1, 4)


@pytest.mark.parametrize(
    ("names", "arguments", "part"),
    [
        ([], ("{}/*.mp4",), "no file matches this pattern"),
        (["a.mp4", "b.mp4"], ("{}",), "nothing says when it was recorded"),
        (["a.txt"], ("{}",), "there is no video and no picture in it"),
        (["2024-05-01_13-05-00.mp4"], ("{}", "rtsp://127.0.0.1:1/x"), "use `afterview watch`"),
    ],
)
def test_what_cannot_be_recorded(
    names: list[str], arguments: tuple[str, ...], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "nvr"
    folder.mkdir()
    for name in names:
        write_recording(folder / name, seconds=1) if name.endswith("mp4") else (folder / name).write_text("x")
    status, _, error = replay(capsys, tmp_path / "m", *(text.format(folder) for text in arguments))
    assert (status, part in error) == (2, True), error
    assert not (tmp_path / "m").exists()


def test_files_without_a_date_follow_one_another_from_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (9, 10):
        write_recording(tmp_path / "nvr" / f"clip {number}.mp4", seconds=2, first=number)
    for _ in range(2):
        status, document, _ = replay(capsys, tmp_path / "m", tmp_path / "nvr", "--start", "2024-05-01T13:05")
        assert (status, times(tmp_path / "m")) == (0, [0, 1, 2, 3])
    assert set(states(document)) == {"clip 9.mp4", "clip 10.mp4"}


def test_a_stated_time_that_contradicts_the_name_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for second in (0, 2):
        name = tmp_path / "nvr" / f"2024-05-01_15-05-{second:02}.mp4"
        write_recording(name, seconds=2, start_time=START + second)
    status, _, error = replay(capsys, tmp_path / "m", tmp_path / "nvr")
    assert (status, times(tmp_path / "m")) == (0, [0, 1, 2, 3])
    assert "2 h 00 min earlier than that in its name; it looks as if one of them were in another time zone" in error
    status, _, error = replay(capsys, tmp_path / "n", tmp_path / "nvr", "--date", "name")
    assert (status, times(tmp_path / "n")) == (0, [7200, 7201, 7202, 7203])
    assert "time zone" not in error


def test_one_file_with_a_date_in_its_name_is_dated_by_it_and_can_be_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_recording(tmp_path / "2024-05-01_13-05-00.mp4", seconds=2)
    status, document, error = replay(capsys, tmp_path / "m", clip)
    assert (status, times(tmp_path / "m"), states(document)) == (0, [0, 1], {clip.name: "recorded"})
    assert "is dated by its name" in error
    write_recording(clip, seconds=5)
    assert replay(capsys, tmp_path / "m", clip)[0] == 0
    assert times(tmp_path / "m") == [0, 1, 2, 3, 4]
    status, _, error = replay(capsys, tmp_path / "m", clip)
    assert (status, "the camera has it already" in error) == (2, True)


def test_a_file_that_is_still_being_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    growing = tmp_path / "nvr" / "2024-05-01_13-05-00.mp4"
    growing.parent.mkdir()
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "g": "5", "bf": "0"}
    with av.open(str(growing), "w", options=options) as output:
        stream = output.add_stream("libx264", rate=5, options=options)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(30):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number // 5), format="rgb24")))
        output.mux(stream.encode(None))
    whole = growing.read_bytes()
    growing.write_bytes(whole[: whole.index(b"moof", len(whole) // 2) - 4])
    begun = write_recording(tmp_path / "nvr" / "2024-05-01_13-06-00.mp4", seconds=2)
    index = begun.read_bytes().index(b"moov")
    begun.write_bytes(begun.read_bytes()[: index - 4])

    joint = ArchiveReading.joint

    def grow(self: ArchiveReading) -> object:
        growing.write_bytes(whole)
        return joint(self)

    monkeypatch.setattr(ArchiveReading, "joint", grow)
    status, document, error = replay(capsys, tmp_path / "m", tmp_path / "nvr")
    before = times(tmp_path / "m")
    assert status == 0
    assert states(document) == {growing.name: "unfinished", begun.name: "unfinished"}
    assert "it grew while it was read" in error
    assert "never finished" in error
    write_recording(begun, seconds=2)
    status, document, _ = replay(capsys, tmp_path / "m", tmp_path / "nvr")
    assert (status, times(tmp_path / "m")) == (0, [0, 1, 2, 3, 4, 5, 60, 61])
    assert len(before) <= 6


def test_the_hour_that_autumn_repeats_is_read_from_when_files_were_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = datetime(2024, 10, 27, 0, 30, tzinfo=UTC).timestamp()  # 02:30 in Paris, and again an hour later
    for minute, again in ((30, False), (31, True), (50, False)):
        clip = write_recording(tmp_path / "nvr" / f"2024-10-27_02-{minute}-00.mp4", seconds=2)
        written = first + 60 * (minute - 30) + 3600 * again + 5
        os.utime(clip, (written, written))
    capsys.readouterr()
    arguments = ("--memory", str(tmp_path / "m"), "--camera", "front", "--timezone", "Europe/Paris")
    assert main(["replay", str(tmp_path / "nvr"), *arguments]) == 0
    assert [moment - first for moment in Memory(tmp_path / "m").camera("front").snapshot().times.tolist()] == [
        0, 1, 1200, 1201, 3660, 3661
    ]  # fmt: skip
    assert "comes twice" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for second in (0, 4, 8):
        frigate(tmp_path / "nvr", 5, second)
    begin, stop, stopped = ArchiveReading.begin, CameraIngest.stop, threading.Event()

    def note(self: CameraIngest) -> None:
        stop(self)
        stopped.set()

    def interrupt(self: ArchiveReading, file: ArchivedFile) -> FileOutcome:
        if len(self.outcomes) == 1:
            os.kill(os.getpid(), signal.SIGINT)
            assert stopped.wait(10)
        return begin(self, file)

    monkeypatch.setattr(ArchiveReading, "begin", interrupt)
    monkeypatch.setattr(CameraIngest, "stop", note)
    status, document, error = replay(capsys, tmp_path / "m", tmp_path / "nvr")
    assert (status, times(tmp_path / "m")) == (130, [0, 1, 2, 3])
    assert states(document) == {"05.00.mp4": "recorded", "05.04.mp4": "interrupted", "05.08.mp4": "interrupted"}
    assert "run the same command again" in error
    monkeypatch.undo()
    assert replay(capsys, tmp_path / "m", tmp_path / "nvr")[0] == 0
    assert times(tmp_path / "m") == [*range(12)]


def test_the_clock_of_the_recording_counts_before_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=40)
    nvr = tmp_path / "nvr"
    nvr.mkdir()
    for number in range(4):  # the names go by another zone, two hours ahead
        name = nvr / f"2024-05-01_15-05-{4 * number:02}.mp4"
        fragment(clip, name, "frag_keyframe+empty_moov", start=START + 4 * number)
    status, document, error = replay(capsys, tmp_path / "m", nvr)
    assert (status, [round(moment, 3) for moment in times(tmp_path / "m")]) == (0, list(range(16))), error
    assert {file["clock"] for file in document["files"]} == {"stated"}
    assert "another time zone" in error
    fragment(clip, nvr / "2024-05-01_15-05-16.mp4", "frag_keyframe+empty_moov", start=START + 16)
    status, document, _ = replay(capsys, tmp_path / "m", nvr)
    assert (status, document["recorded"], len(times(tmp_path / "m"))) == (0, 4, 20)
    status, _, error = replay(capsys, tmp_path / "m", nvr / "2024-05-01_15-05-16.mp4")  # its length is not known before
    assert (status, "all of it lies before the newest frame" in error) == (2, True)


def test_files_wait_for_an_unfinished_one_before_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = [write_recording(tmp_path / "nvr" / f"2024-05-01_13-05-0{2 * n}.mp4", seconds=2) for n in range(3)]
    whole = clips[1].read_bytes()
    clips[1].write_bytes(whole[: whole.index(b"moov") - 4])
    status, document, _ = replay(capsys, tmp_path / "m", tmp_path / "nvr")
    assert (status, times(tmp_path / "m")) == (0, [0, 1])
    assert [states(document)[clip.name] for clip in clips] == ["recorded", "unfinished", "waiting"]
    hour_ago = time.time() - 3600
    os.utime(clips[1], (hour_ago, hour_ago))
    status, document, _ = replay(capsys, tmp_path / "n", tmp_path / "nvr")
    assert (status, times(tmp_path / "n")) == (1, [0, 1, 4, 5])
    assert [states(document)[clip.name] for clip in clips] == ["recorded", "failed", "recorded"]
    status, _, error = replay(capsys, tmp_path / "o", tmp_path / "nvr", "--start", "2024-05-01T13:05")
    assert (status, "--start does not say when the next file begins" in error) == (2, True)
    clips[1].write_bytes(whole)
    assert replay(capsys, tmp_path / "m", tmp_path / "nvr")[0] == 0
    assert times(tmp_path / "m") == [0, 1, 2, 3, 4, 5]
