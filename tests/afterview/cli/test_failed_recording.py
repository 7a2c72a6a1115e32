"""A recording that fails, or is interrupted before its first picture, leaves nothing behind."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from afterview.cli.main import main
from tests.support.clips import make_clip
from tests.support.odd_rtsp import access_units
from tests.support.refusing_rtsp import RefusingCamera


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    return status, capsys.readouterr().err


def _sources(folder: Path) -> dict[str, Path]:
    clip = make_clip(folder / "clip.mp4", frames=30)
    damaged, text, empty, still = (folder / name for name in ("damaged.mp4", "text.mp4", "empty.mp4", "still.jpg"))
    damaged.write_bytes(clip.read_bytes()[:2000])
    text.write_text("no video\n" * 200)
    empty.touch()
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(still)
    undecodable = folder / "undecodable.h264"  # all begins after the probe, which reads 500 packets
    slices = [b"\0\0\1" + unit for units in access_units(clip) for unit in units if unit[0] & 31 == 1]
    undecodable.write_bytes(b"".join(slices * 30))
    return {"damaged": damaged, "text": text, "empty": empty, "still": still, "undecodable": undecodable}


@pytest.mark.parametrize("kind", ["damaged", "text", "empty", "still", "undecodable"])
def test_a_replay_that_fails(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _sources(tmp_path)[kind]
    status, error = run(capsys, "replay", source, "--memory", tmp_path / "deep" / "memory")
    assert status == 2
    assert f"{source}: " in error
    assert not (tmp_path / "deep").exists()


def test_a_watch_that_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=5)
    dead = "tcp://127.0.0.1:1"  # is not probed
    with RefusingCamera(clip, refusals={"SETUP": "453 Not Enough Bandwidth"}) as camera:
        alone, error = run(capsys, "watch", camera.url, "--memory", tmp_path / "deep" / "memory")
        assert "close other viewers" in error
        both, error = run(capsys, "watch", camera.url, dead, "--memory", tmp_path / "deep" / "memory")
        assert "close other viewers" in error
        assert "2 of 2 cameras failed" in error
        trying, error = run(
            capsys, "watch", camera.url, "--memory", tmp_path / "deep" / "memory", "--keep-trying", "--for", "1s"
        )
        assert "1 of 1 cameras recorded nothing: " in error
        assert "(never connected: " in error
    assert (alone, both, trying) == (1, 1, 1)
    assert not (tmp_path / "deep").exists()


@pytest.fixture
def _ctrl_c() -> Iterator[None]:
    """As a process of its own has it: uvloop has left a handler of its own behind in this one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c")
def test_a_watch_that_is_interrupted_while_it_connects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    over = threading.Event()

    def press() -> None:
        for pause in (
            0.5,
            5.0,
        ):  # again, as a person would: Python drops an interrupt that hits a callback of the garbage collector
            if over.wait(pause):
                return
            os.kill(os.getpid(), signal.SIGINT)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        presser = threading.Thread(target=press)
        presser.start()
        began = time.monotonic()
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
        status, error = run(capsys, "watch", url, "--memory", tmp_path / "deep" / "memory", "--open-timeout", "60")
        over.set()
        presser.join()
    assert time.monotonic() - began < 15
    assert status == 130
    assert "interrupted" in error
    assert not (tmp_path / "deep").exists()
