"""Crashes: a state machine that may crash at any step of any operation, and short runs of the harness in tests/crash."""

import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from afterview.memory.base.durable import observed, unfinished_files
from afterview.memory.base.failpoints import POINTS, UPLOAD_POINTS
from afterview.memory.base.feature_spec import FeatureSpec, Storage
from afterview.memory.format.manifest import Manifest
from afterview.memory.fsck.fsck import fsck
from afterview.memory.plans.downsampling import downsampled_mask
from afterview.memory.plans.retention import Limits
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.erase import traces
from afterview.memory.writing.open import open_camera
from tests.crash import kill, power
from tests.crash.promises import broken_promises, read_acks
from tests.crash.tally import Tally
from tests.crash.uploads import kill_uploads
from tests.crash.writer import SPECS
from tests.support.memory_world import START, die_holding, downsampled_tokens, kept_frame, kill_writer, make_frame
from tests.support.object_server import need_object_store


class Crash(BaseException):
    """The process dies here."""


class CrashAt:
    """Lets so many steps pass, then stops every one, in whichever thread."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self, *step: object) -> None:
        self.left -= 1
        if self.left < 0:
            raise Crash


class MemoryAgainstList(RuleBasedStateMachine):
    """Appends, syncs, forgets, evicts, reopens and crashes in any order: the memory always equals a plain list of frame numbers.

    kept: frames that were synced and not removed. loose: appended since the last sync; a crash may take any number of the last of
    them. doubtful: frames whose removal a crash interrupted; all of them are there, or none.
    """

    spec = SPECS["float16"]

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name)
        self.kept: list[int] = []
        self.loose: list[int] = []
        self.repository = open_camera(self.path, "a", self.spec)

    def _append(self, count: int) -> None:
        for _ in range(count):
            number = self.repository.frames
            self.loose.append(number)
            assert self.repository.append(make_frame(number, self.spec)) == number

    def _sync(self) -> None:
        assert [ack.frame for ack in self.repository.sync()][-len(self.loose) or None :] == self.loose
        self.kept, self.loose = self.kept + self.loose, []

    def _range(self, place: float, count: int) -> list[int]:
        """Frames whose forgetting is asked for."""
        newest = self.repository.frames
        first = int(place * newest)
        return list(range(first, min(newest, first + count)))

    @rule(count=st.integers(1, 150))
    def append(self, count: int) -> None:
        self._append(count)

    @rule()
    def sync(self) -> None:
        self._sync()

    @rule(place=st.floats(0, 1), count=st.integers(1, 90))
    def forget(self, place: float, count: int) -> None:
        self._sync()
        gone = self._range(place, count)
        if gone:
            forgotten = self.repository.forget(START + gone[0], START + gone[-1])
            assert forgotten.frames == len(set(gone) & set(self.kept))
            self.kept = [number for number in self.kept if number not in set(gone)]

    def _evictable(self, seconds: float) -> set[int]:
        """Whole seals of which every frame is older than the limit allows, the newest seal excepted."""
        sealed = self.repository.manifest.frames
        oldest = START + sealed - 1 - seconds
        return {n for n in range(max(0, sealed - 64)) if START + (n // 64) * 64 + 63 < oldest}

    @rule(seconds=st.integers(1, 300))
    def evict(self, seconds: int) -> None:
        self._sync()
        gone = self._evictable(seconds)
        self.repository.enforce(Limits(float(seconds), None))
        present = set(CameraReader(self.path / "a").snapshot().ids.tolist())
        removed = set(self.kept) - present
        assert removed <= gone  # never more than the limit says; which seals still count as old is retention's own test
        self.kept = [number for number in self.kept if number in present]

    @rule(seconds=st.integers(1, 300))
    def make_downsampled(self, seconds: int) -> None:
        self._sync()
        while self.repository.downsample(float(seconds), ()):
            pass
        downsampled = downsampled_mask(self.repository.frames, self.repository.manifest.downsampled)
        kept = set(self.kept)
        newest = max((n for n in kept if n < self.repository.manifest.frames), default=0)
        for seal in range(self.repository.manifest.frames // 64):
            if any(n in kept for n in range(seal * 64, seal * 64 + 64)) and seal * 64 + 63 < newest - seconds:
                assert downsampled[seal * 64]

    @rule()
    def close_and_reopen(self) -> None:
        if not self.repository.frames:
            return
        self._sync()
        self.repository.close()
        self.repository = open_camera(self.path, "a", self.spec)

    @rule(
        steps=st.integers(0, 120),
        what=st.sampled_from(["append", "forget", "evict", "make coarse", "close"]),
        count=st.integers(1, 150),
        place=st.floats(0, 1),
    )
    def crash(self, steps: int, what: str, count: int, place: float) -> None:
        doubtful: set[int] = set()
        if what in ("forget", "evict"):
            self._sync()
            doubtful = set(self._range(place, count)) if what == "forget" else self._evictable(count)
        try:
            with observed(CrashAt(steps)):
                if what == "append":
                    self._append(count)
                    self._sync()
                elif what == "forget" and doubtful:
                    self.repository.forget(START + min(doubtful), START + max(doubtful))
                elif what == "evict":
                    self.repository.enforce(Limits(float(count), None))
                elif what == "make coarse":
                    self.repository.downsample(float(count), ())
                elif what == "close":
                    self.repository.close()
        except Crash:
            time.sleep(0.02)  # steps that other threads had begun
        kill_writer(self.repository)
        if (self.path / "a" / "lock").exists():  # a camera without frames is not kept
            die_holding(self.path / "a")
        if not (self.path / "a" / "camera.json").exists():
            assert not self.kept
        self.repository = open_camera(self.path, "a", self.spec)
        self._accept(doubtful)

    def _accept(self, doubtful: set[int]) -> None:
        """What a crash may do: cut unsynced frames from the end, and finish a removal or leave it."""
        present = set(CameraReader(self.path / "a").snapshot().ids.tolist())
        assert set(self.kept) - doubtful <= present
        survived = [number for number in self.loose if number in present]
        assert survived == self.loose[: len(survived)]
        assert not fsck(self.path / "a").damage
        assert not unfinished_files(self.path / "a")
        self.kept = [number for number in self.kept + survived if number in present]
        self.loose = []

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "repository"):
            return
        snapshot = CameraReader(self.path / "a").snapshot()
        numbers = self.kept + self.loose
        assert snapshot.ids.tolist() == numbers
        frames = [kept_frame(number, self.spec) for number in numbers]
        np.testing.assert_array_equal(snapshot.times, [frame.time for frame in frames])
        if numbers:
            downsampled = downsampled_mask(snapshot.end, Manifest.read(self.path / "a").downsampled)
            tokens = [
                downsampled_tokens(n, self.spec) if downsampled[n] else f.tokens
                for n, f in zip(numbers, frames, strict=True)
            ]
            np.testing.assert_array_equal(snapshot.tokens(snapshot.ids), np.stack(tokens))
            assert snapshot.image(numbers[-1]) == frames[-1].image
        for gone in snapshot.removed:
            if gone.reason == "forgotten":
                assert not traces(self.path / "a", gone, sealed=Manifest.read(self.path / "a").frames)

    def teardown(self) -> None:
        if hasattr(self, "repository"):
            self.repository.close()
            self.directory.cleanup()


class QuantisedMemoryAgainstList(MemoryAgainstList):
    """The same with int8 tokens."""

    spec = SPECS["int8"]


SETTINGS = settings(max_examples=20, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck))
TestMemoryAgainstList = MemoryAgainstList.TestCase
TestMemoryAgainstList.settings = SETTINGS
TestQuantisedMemoryAgainstList = QuantisedMemoryAgainstList.TestCase
TestQuantisedMemoryAgainstList.settings = SETTINGS

QUANTISED_POINTS = (
    "append.after-write",
    "seal.half-written",
    "seal.before-commit",
    "seal.after-commit",
    "forget.half-erased",
)


@pytest.mark.parametrize(
    ("point", "storage"),
    [*((point, "float16") for point in POINTS), *((point, "int8") for point in QUANTISED_POINTS)],
)
def test_a_kill_at_each_failpoint_breaks_no_promise(tmp_path: Path, point: str, storage: Storage) -> None:
    spec = SPECS[storage]
    assert kill.kill_at_failpoint(tmp_path, point, random.Random(3), storage), "the writer never got to the failpoint"
    assert read_acks(tmp_path / "acks") or not point.startswith(("seal", "evict", "forget", "index"))
    assert broken_promises(tmp_path / "m", "a", tmp_path / "acks", tmp_path / "log", spec, keep_s=500.0) == []


@pytest.mark.slow
def test_a_kill_of_a_running_watch_breaks_no_promise() -> None:
    tally = Tally()
    kill.kill_watches(tally, 2, random.Random(5), lambda text: None)
    assert tally.broken == []
    assert tally.acknowledged > 0
    assert tally.answers == 2


@pytest.mark.thorough
def test_a_kill_at_each_step_of_an_upload_breaks_no_promise() -> None:
    need_object_store()
    tally = Tally()
    kill_uploads(tally, len(UPLOAD_POINTS), random.Random(7), lambda text: None, points=UPLOAD_POINTS)
    assert tally.broken == []
    assert tally.kills.total() == tally.answers == len(UPLOAD_POINTS)
    assert tally.acknowledged > 0


def test_a_failpoint_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    import os
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", "import afterview.memory.base.failpoints"],
        env={**os.environ, "AFTERVIEW_FAILPOINT": "seal.nowhere:1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no such place" in done.stderr


@pytest.fixture
def whole_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded run shrinks index segments; put them back afterwards."""
    for name in ("SMALL", "LARGE"):
        for module in ("afterview.memory.index.frame_index", "afterview.memory.index.segments"):
            monkeypatch.setattr(f"{module}.{name}", getattr(sys.modules["afterview.memory.index.segments"], name))


@pytest.mark.thorough
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_no_promise_is_broken_by_a_power_cut(tmp_path: Path, whole_segments: None, spec: FeatureSpec) -> None:
    steps = power.record(tmp_path / "m", spec, frames=150, seed=1)
    assert power.untraced(tmp_path / "m", steps) == []  # the model saw everything that was written
    results = list(power.cuts(steps, power.evenly(len(steps), 40), spec, seed=1))
    assert len(results) == 120
    assert [(place, survival, found) for place, survival, found in results if found] == []


def test_the_power_harness_notices_a_missing_fsync(
    tmp_path: Path, whole_segments: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A harness that cannot fail proves nothing: without the journal's fsync it must find lost frames."""

    def no_fsync(real: Callable[..., None]) -> Callable[..., None]:
        return lambda file, path: None if path.name == "journal" else real(file, path)

    from afterview.memory.base import durable

    monkeypatch.setattr(durable, "fsync_file", no_fsync(durable.fsync_file))
    spec = SPECS["float16"]
    steps = power.record(tmp_path / "m", spec, frames=60, seed=2)
    assert any(found for _, _, found in power.cuts(steps, power.evenly(len(steps), 20), spec, seed=2))
