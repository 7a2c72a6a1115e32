"""The write thread: a full disk pauses it and costs nothing that was acknowledged; commands reach it while it runs; masks hide."""

import contextlib
import errno
import json
import math
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from afterview.memory.base.errors import CameraMoved, NotWritable, RequestRefused
from afterview.memory.base.recorder import LONGEST, ask_writer
from afterview.memory.base.records import SEAL_FRAMES, frame_crc
from afterview.memory.base.settings import CameraSettings, read_settings
from afterview.memory.fsck.fsck import fsck
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.commands import execute
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.repository import Acknowledgement
from afterview.stream.ingest.config import Controls
from afterview.stream.ingest.control import ControlServer
from afterview.stream.ingest.masks import apply_masks
from afterview.stream.ingest.queues import Blocking, Closed
from afterview.stream.ingest.status import IngestStats
from afterview.stream.ingest.write import CameraWriter, Stored
from tests.support.memory_world import START, make_frame, make_spec

SPEC = make_spec(width=64, cells=16)  # 2 KB of tokens a frame


class Running:
    """A writer in its thread, and what it reported. full: each change of whether the disk is full."""

    def __init__(self, memory: Path) -> None:
        self.repository = open_camera(memory, "a", SPEC)
        self.outbox: Blocking[Stored] = Blocking(16)
        self.acks: list[Acknowledgement] = []
        self.full: list[str | None] = []
        self.failure: BaseException | None = None
        self.stats = IngestStats(on_change=self._changed)
        self.writer = CameraWriter(
            self.repository, self.outbox, self.stats, controls(self.repository.directory), on_durable=self.acks.extend
        )
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _changed(self) -> None:
        self.full.append(self.stats.detail if self.stats.disk_full else None)

    def _run(self) -> None:
        try:
            self.writer.run()
        except BaseException as error:
            self.failure = error

    def close(self) -> None:
        self.outbox.close()
        self.thread.join(20)
        assert not self.thread.is_alive()


def controls(camera: Path) -> Controls:
    nobody: Any = None  # no encoder is looked up here
    return Controls(read_settings(camera), nobody)


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of 3 MB. When it is full, writers try again soon."""
    monkeypatch.setattr("afterview.stream.ingest.write.RETRY_FULL_S", 0.1)
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], check=False).returncode
    ):
        pytest.skip("mounting a small tmpfs needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def wait_until(condition: "object", seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


@pytest.mark.integration
def test_a_full_disk_pauses_the_writer_and_loses_nothing(small_disk: Path) -> None:
    running = Running(small_disk / "m")
    ballast = small_disk / "ballast"
    frames = [make_frame(number, SPEC) for number in range(400)]
    for frame in frames[:100]:
        running.outbox.put(frame)
    wait_until(lambda: len(running.acks) == 100)
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass  # not a byte is left
    feeder = threading.Thread(target=lambda: [running.outbox.put(frame) for frame in frames[100:]], daemon=True)
    feeder.start()
    wait_until(lambda: "the disk is full" in running.stats.detail)
    stuck = len(running.acks)
    assert 100 <= stuck < 400
    time.sleep(0.5)
    assert len(running.acks) == stuck  # waiting, not dropping
    snapshot = CameraReader(small_disk / "m" / "a").snapshot()  # readers go on
    assert snapshot.frames >= stuck
    np.testing.assert_array_equal(snapshot.tokens(snapshot.ids[:90]), np.stack([frame.tokens for frame in frames[:90]]))
    ballast.unlink()
    wait_until(lambda: len(running.acks) == 400)
    assert running.full[-1] is None  # and says that it goes on
    feeder.join()
    running.close()
    assert running.failure is None
    assert [ack.frame for ack in running.acks] == list(range(400))
    snapshot = CameraReader(small_disk / "m" / "a").snapshot()
    for ack in running.acks:
        ids = np.array([ack.frame])
        assert frame_crc(snapshot.image(ack.frame), snapshot.tokens(ids)[0], snapshot.embeddings(ids)[0]) == ack.crc
    assert fsck(small_disk / "m" / "a").findings == []


@pytest.mark.integration
def test_forgetting_through_the_writer_frees_a_full_disk_and_recording_goes_on(small_disk: Path) -> None:
    running = Running(small_disk / "m")
    number = 0
    while not any(running.full) and number < 3000:
        if len(running.outbox) < 16:
            running.outbox.put(make_frame(number, SPEC))
            number += 1
    assert number < 3000
    before = len(running.acks)
    oldest = running.writer.command({"do": "set", "settings": {"days": 300 / 86400}})
    assert oldest["evicted"]["bytes"] > 0
    for _ in range(20):
        running.outbox.put(make_frame(number, SPEC))
        number += 1
    wait_until(lambda: len(running.acks) > before + 20)
    running.close()
    assert running.failure is None
    assert fsck(small_disk / "m" / "a").damage == []


@pytest.mark.integration
def test_a_writer_that_stands_still_on_a_full_disk_forgets_within_one_chunk(small_disk: Path) -> None:
    running = Running(small_disk / "m")
    camera, number = small_disk / "m" / "a", 0
    while "the disk is full" not in running.stats.detail:
        if len(running.outbox) < 16:
            running.outbox.put(make_frame(number, SPEC))
            number += 1
    (camera / "reserve").unlink(missing_ok=True)
    with (small_disk / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    stuck = len(running.acks)
    done = running.writer.command({"do": "forget", "start": START + 70, "stop": START + 74})
    assert (done["frames"], done["proof"]["files_rewritten"], done["proof"]["traces"]) == (5, 0, 0)
    assert done["proof"]["files_overwritten"] > 0
    assert "the disk is full" in running.stats.detail
    snapshot = CameraReader(camera).snapshot()
    assert snapshot.frames >= stuck - 5
    assert not set(range(70, 75)) & set(snapshot.ids.tolist())
    (small_disk / "ballast").unlink()
    running.close()
    assert fsck(camera).damage == []


@pytest.mark.integration
def test_stopping_on_a_full_disk_says_what_was_lost(small_disk: Path) -> None:
    running = Running(small_disk / "m")
    number = 0
    while "the disk is full" not in running.stats.detail:
        if len(running.outbox) < 16:
            running.outbox.put(make_frame(number, SPEC))
            number += 1
    running.close()
    assert isinstance(running.failure, NotWritable | OSError)
    assert [ack.frame for ack in running.acks] == list(range(len(running.acks)))


def test_a_full_disk_is_not_waited_for_once_nothing_more_comes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is still open then: the encoder, which would close it, waits for room in it."""

    def full(*unused: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    repository, outbox = open_camera(tmp_path, "a", SPEC), Blocking[Stored](4)
    for number in range(4):
        outbox.put(make_frame(number, SPEC))
    monkeypatch.setattr("afterview.memory.format.journal.Journal.append", full)
    writer = CameraWriter(repository, outbox, IngestStats(), controls(repository.directory))
    writer.end_input()
    with pytest.raises(NotWritable, match="4 frames that were never acknowledged"):
        writer.run()
    assert outbox.closed


def test_an_idle_writer_notices_that_its_directory_was_moved_and_ends(tmp_path: Path) -> None:
    running = Running(tmp_path / "m")
    for number in range(3):
        running.outbox.put(make_frame(number, SPEC))
    wait_until(lambda: len(running.acks) == 3)
    (tmp_path / "m").rename(tmp_path / "away")
    wait_until(lambda: not running.thread.is_alive(), 5)
    assert isinstance(running.failure, CameraMoved)
    assert f"moved to {tmp_path / 'away'}" in str(running.failure)
    assert not (tmp_path / "m").exists()
    assert CameraReader(tmp_path / "away" / "a").snapshot().frames == 3


def test_a_directory_that_was_deleted_acknowledges_nothing_and_is_not_made_again(tmp_path: Path) -> None:
    running = Running(tmp_path / "m")
    running.outbox.put(make_frame(0, SPEC))
    wait_until(lambda: len(running.acks) == 1)
    shutil.rmtree(tmp_path / "m")
    with contextlib.suppress(Closed):
        for number in range(1, 2 * SEAL_FRAMES):
            running.outbox.put(make_frame(number, SPEC))
    wait_until(lambda: not running.thread.is_alive(), 5)
    assert isinstance(running.failure, CameraMoved)
    assert "was deleted" in str(running.failure)
    assert len(running.acks) == 1
    assert not (tmp_path / "m").exists()


def test_commands_are_executed_while_it_records(tmp_path: Path) -> None:
    running = Running(tmp_path / "m")
    camera = tmp_path / "m" / "a"
    for number in range(3 * SEAL_FRAMES):
        running.outbox.put(make_frame(number, SPEC))
    wait_until(lambda: len(running.acks) == 3 * SEAL_FRAMES)
    assert ask_writer(camera, {"do": "set", "settings": {}}) is None  # nobody listens yet
    with ControlServer(camera, running.writer.command):
        forgotten = ask_writer(camera, {"do": "forget", "start": START + 10, "stop": START + 19})
        assert forgotten is not None
        assert forgotten["frames"] == 10
        done = ask_writer(camera, {"do": "set", "settings": {"paused": True, "keep": [[START, START + 5]]}})
        assert done is not None
        assert done["settings"]["paused"] is True
        with pytest.raises(RequestRefused, match="the commands are forget, set and enforce"):
            ask_writer(camera, {"do": "dance"})
        with pytest.raises(RequestRefused, match="ends before it begins"):
            ask_writer(camera, {"do": "forget", "start": 5, "stop": 1})
        with pytest.raises(RequestRefused, match="must be above 0"):
            ask_writer(camera, {"do": "set", "settings": {"days": -1}})
        running.outbox.put(make_frame(3 * SEAL_FRAMES, SPEC))
        wait_until(lambda: len(running.acks) == 3 * SEAL_FRAMES + 1)
    running.close()
    assert running.failure is None
    assert read_settings(camera).keep == ((START, START + 5),)
    assert not (camera / "control").exists()
    assert CameraReader(camera).snapshot().frames == 3 * SEAL_FRAMES + 1 - 10


@pytest.mark.parametrize("sent", [b"", b"5", b'["do"]', b"{", b"\xff", b"[" * 100_000, b'{"do": "' + b"x" * LONGEST])
def test_what_is_no_command_is_refused(tmp_path: Path, sent: bytes) -> None:
    def handle(command: dict[str, object]) -> dict[str, object]:
        raise AssertionError(f"was executed: {command}")

    with ControlServer(tmp_path, handle), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(tmp_path / "control"))
        with contextlib.suppress(OSError):  # the server need not read all of it
            connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = json.loads(connection.recv(65536))
    assert answer == {"error": f"a command is one JSON object of at most {LONGEST} bytes"}


def test_a_command_that_is_too_long_is_not_sent(tmp_path: Path) -> None:
    with (
        ControlServer(tmp_path, lambda command: {}),
        pytest.raises(RequestRefused, match="at most 1048576 are accepted"),
    ):
        ask_writer(tmp_path, {"do": "set", "settings": {"masks": "x" * LONGEST}})


@pytest.mark.parametrize("answered", [b"", b"5", b"null", b'{"result"'])
def test_a_writer_that_answers_nonsense_is_one_that_ended(tmp_path: Path, answered: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control"))
        listener.listen(1)

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answered)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(RequestRefused, match="ended before it answered"):
            ask_writer(tmp_path, {"do": "enforce"})
        thread.join()


NONSENSE = [
    {"do": ["forget"]},
    {"do": "forget", "start": 0},
    {"do": "forget", "start": float("nan"), "stop": 1},
    {"do": "forget", "start": 0, "stop": "nan"},
    {"do": "forget", "start": 0, "stop": 10**400},
    {"do": "set", "settings": 5},
    {"do": "set", "settings": {"days": float("inf")}},
    {"do": "set", "settings": {"days": 10**400}},
    {"do": "set", "settings": {"keep": [[5, 1]]}},
    {"do": "set", "settings": {"keep": [[float("nan"), 1]]}},
    {"do": "set", "settings": {"masks": [[[0, 0], [0, float("nan")], [1, 1]]]}},
]


@pytest.mark.parametrize("command", NONSENSE, ids=str)
def test_a_command_that_makes_no_sense_is_refused_and_changes_nothing(
    tmp_path: Path, command: dict[str, object]
) -> None:
    with open_camera(tmp_path, "a", SPEC) as repository:
        repository.append(make_frame(0, SPEC))
        with pytest.raises(RequestRefused, match="command '"):
            execute(repository, command)
        assert repository.frames == 1
        assert not repository.manifest.removed
    assert read_settings(tmp_path / "a") == CameraSettings()


def test_a_stale_socket_of_a_dead_process_is_no_listener_and_is_replaced(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-long-name-of-a-directory"] * 6)  # beyond the 108 bytes of a socket's path
    deep.mkdir(parents=True)
    server = ControlServer(deep, lambda command: {"echo": command})
    server._socket.shutdown(socket.SHUT_RDWR)  # as a kill would: nobody listens, but the file stays
    server._socket.close()
    assert (deep / "control").exists()
    assert ask_writer(deep, {"x": 1}) is None
    with ControlServer(deep, lambda command: {"echo": command}):
        assert ask_writer(deep, {"x": 1}) == {"echo": {"x": 1}}
        assert (deep / "control").stat().st_mode & 0o077 == 0
    assert ask_writer(deep, {"x": 1}) is None


def test_a_command_to_a_writer_that_has_ended_is_refused(tmp_path: Path) -> None:
    running = Running(tmp_path / "m")
    running.outbox.put(make_frame(0, SPEC))
    running.close()
    with pytest.raises(NotWritable, match="is ending; run the command again"):
        running.writer.command({"do": "enforce"})


def test_masks_hide_their_part_of_the_picture_and_nothing_else() -> None:
    rgb = np.random.default_rng(0).integers(1, 255, (40, 80, 3), dtype=np.uint8)
    left = ((0.0, 0.0), (0.25, 0.0), (0.25, 1.0), (0.0, 1.0))
    hidden = apply_masks(rgb, [left])
    assert (hidden[:, :20] == 0).all()
    np.testing.assert_array_equal(hidden[:, 21:], rgb[:, 21:])
    assert (rgb > 0).all()  # the picture that came in is not touched
    assert apply_masks(rgb, ()) is rgb
    triangle = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0))
    both = apply_masks(rgb, [left, triangle])
    assert (both[0, 45:] == 0).all()
    assert (both[39, 30:70] != 0).all()
    assert math.isclose((both == 0).all(axis=2).mean(), 0.25 + 0.25, abs_tol=0.03)


def test_damaged_limits_do_not_end_a_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("afterview.stream.ingest.write.RETENTION_EVERY_S", 0.0)
    running = Running(tmp_path)
    running.outbox.put(make_frame(0, SPEC))
    wait_until(lambda: len(running.acks) == 1)
    (tmp_path / "settings.json").write_text("{")
    wait_until(lambda: "nothing is evicted" in caplog.text)
    running.outbox.put(make_frame(1, SPEC))
    wait_until(lambda: len(running.acks) == 2 or running.failure)
    running.close()
    assert running.failure is None
    assert caplog.text.count("nothing is evicted") == 1
    assert "settings.json" in caplog.text


def test_a_mask_that_was_stored_is_in_force_even_if_its_command_failed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def set_and_fail(*arguments: Any) -> Any:
        execute(*arguments)
        raise OSError(errno.EIO, "Input/output error")

    running = Running(tmp_path)
    running.outbox.put(make_frame(0, SPEC))
    wait_until(lambda: len(running.acks) == 1)
    monkeypatch.setattr("afterview.stream.ingest.write.execute", set_and_fail)
    mask = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
    with pytest.raises(OSError, match="Input/output"):
        running.writer.command({"do": "set", "settings": {"masks": [mask]}})
    assert len(running.writer._controls.settings.masks) == 1
    running.close()
