"""Who writes a camera: readers can tell without touching the lock, and say so when the last writer did not stop cleanly."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from afterview.cli.main import main
from afterview.memory.base.errors import CameraBusy
from afterview.memory.base.lock import CameraLock, file_lock, is_held
from afterview.memory.fsck.fsck import fsck
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.open import open_camera
from tests.crash.writer import SPECS
from tests.support.memory_world import START, make_frame

SPEC = SPECS["float16"]
ROOT = Path(__file__).parents[3]


@contextmanager
def other_process(memory: Path) -> Iterator["subprocess.Popen[str]"]:
    """A writer in a process of its own, which writes until it is killed."""
    command = [
        sys.executable,
        "-m",
        "tests.crash.writer",
        str(memory),
        str(memory / "acks"),
        str(memory / "log"),
        "float16",
    ]
    memory.mkdir()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_a_killed_writer_leaves_an_open_gap_that_readers_name_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory, camera = tmp_path / "m", tmp_path / "m" / "a"
    with other_process(memory) as process:
        while not CameraReader(camera).snapshot().frames:
            time.sleep(0.02)
        reader = CameraReader(camera)
        assert is_held(camera / "lock")
        alive = reader.snapshot()
        assert alive.open_gap is None or alive.open_gap.reason == "lost"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    snapshot = reader.snapshot()
    assert snapshot.open_gap is not None
    if snapshot.open_gap.reason != "lost":  # the writer was in an outage of its own
        assert snapshot.open_gap.reason == "crashed"
        assert snapshot.open_gap.start == snapshot.times[-1]
        assert math.isnan(snapshot.open_gap.end)
        assert main(["info", str(memory)]) == 0
        assert "the last one did not stop cleanly" in capsys.readouterr().out
    last = float(snapshot.times[-1])
    with open_camera(memory, "a", SPEC) as repository:
        frame = make_frame(0, SPEC, time=last + 100)
        repository.append(frame)
        repository.sync()
        now = reader.snapshot()
        assert now.open_gap is None
        assert (now.gaps[-1].start, now.gaps[-1].end) == (last, last + 100)
    ended = reader.snapshot()
    assert ended.open_gap is not None
    assert ended.open_gap.reason == "not recording"  # this one ended cleanly


def test_the_gap_that_a_crash_left_keeps_its_reason(tmp_path: Path) -> None:
    repository = open_camera(tmp_path, "a", SPEC)
    repository.append(make_frame(0, SPEC))
    repository.sync()
    repository._lock._file.close()  # as the kernel does when a process dies
    crashed = CameraReader(tmp_path / "a").snapshot()
    assert crashed.open_gap is not None
    assert crashed.open_gap.reason == "crashed"
    past = crashed.as_of(START + 50)
    assert past.open_gap is not None
    with open_camera(tmp_path, "a", SPEC):
        pass  # opened and closed without a frame: still nobody records since the crash
    again = CameraReader(tmp_path / "a").snapshot()
    assert again.open_gap == crashed.open_gap or (again.open_gap and again.open_gap.reason == "crashed")
    with open_camera(tmp_path, "a", SPEC) as repository:
        repository.append(make_frame(60, SPEC))
    (gap,) = CameraReader(tmp_path / "a").snapshot().gaps
    assert (gap.start, gap.end, gap.reason) == (START, START + 60, "crashed")


def test_whoever_asks_about_a_lock_never_makes_a_writer_fail(tmp_path: Path) -> None:
    with open_camera(tmp_path, "a", SPEC) as repository:
        repository.append(make_frame(0, SPEC))
    camera, stop = tmp_path / "a", threading.Event()

    def ask() -> None:
        while not stop.is_set():
            is_held(camera / "lock")
            fsck(camera)

    askers = [threading.Thread(target=ask, daemon=True) for _ in range(2)]
    for asker in askers:
        asker.start()
    try:
        for _ in range(300):
            with CameraLock(camera / "lock", camera="a"):  # raises CameraBusy when somebody else holds it
                assert is_held(camera / "lock")
            assert is_held(camera / "lock") is False
    finally:
        stop.set()
        for asker in askers:
            asker.join()


def test_a_second_writer_is_refused_with_the_identity_of_the_first_in_the_cameras_zone(tmp_path: Path) -> None:
    with open_camera(tmp_path, "a", SPEC, timezone="Asia/Kolkata"):
        with pytest.raises(CameraBusy, match=rf"process {os.getpid()} on \S+ since 20.* IST"):
            open_camera(tmp_path, "a", SPEC)
        assert json.loads((tmp_path / "a" / "lock").read_text())["pid"] == os.getpid()
    assert is_held(tmp_path / "a" / "lock") is None  # a camera that never held a frame is removed again
    assert not (tmp_path / "a").exists()


def test_a_file_lock_excludes_everybody_else_and_is_waited_for_no_longer_than_said(tmp_path: Path) -> None:
    with file_lock(tmp_path / "lock"):
        began = time.monotonic()
        with pytest.raises(TimeoutError), file_lock(tmp_path / "lock", patience_s=0.05):
            raise AssertionError("two hold it")
        assert 0.05 <= time.monotonic() - began < 5
    with file_lock(tmp_path / "lock", patience_s=0.0):
        pass
