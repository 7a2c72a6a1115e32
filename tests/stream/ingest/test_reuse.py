"""Frames that hardly differ from one before reuse its features: only within the bound, never across a gap, counted."""

import json
import math
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from afterview.cli.main import main
from afterview.configs import UsageError
from afterview.memory.base.records import FrameRecord, TimeBasis
from afterview.stream.ingest.encode import EncodeStage, encode_groups
from afterview.stream.ingest.items import Dropped, Interruption, Joint, Pace
from afterview.stream.ingest.preprocess import Sampled
from afterview.stream.ingest.reuse import BLOCK, MOST_IN_A_ROW, difference, require_reusable

SIDE = 40  # pixels: not a multiple of the block


class Encoders:
    """Features that say which picture they are of. encoded: how many frames went through."""

    def __init__(self, frames_per_record: int = 1) -> None:
        tokens = SimpleNamespace(frames_per_record=frames_per_record, clip_marks=False)
        self.feature_spec, self.name, self.encoded = SimpleNamespace(tokens=tokens), "made-up", 0
        self.vision, self.index = SimpleNamespace(encode=self._encode), SimpleNamespace(encode_images=self._index)

    def _encode(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.encoded += len(frames)
        return frames.astype(np.float32).mean((1, 2))[:, None]

    def _index(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        return frames.astype(np.float32).std((1, 2))


class Camera:
    """As much of a camera as the stage asks for."""

    id = "yard"

    def __init__(self, bound: float | None) -> None:
        self.config = SimpleNamespace(fps=1.0, reuse_bound=bound)
        self.stats = SimpleNamespace(features_reused=0, short_clips=0)
        self.items: list[Any] = []

    def submit(self, item: Any, encoders: Any = None) -> None:
        self.items.append(item)

    def fail(self, error: BaseException) -> None:
        self.items.append(error)

    @property
    def records(self) -> list[FrameRecord]:
        return [item for item in self.items if isinstance(item, FrameRecord)]


def frame(time: float, level: int | NDArray[np.uint8], encoders: Any, *, damaged: bool = False) -> Sampled:
    pixels = level if isinstance(level, np.ndarray) else np.full((SIDE, SIDE, 3), level, dtype=np.uint8)
    return Sampled(time, time, math.nan, TimeBasis.FILE, pixels, pixels, f"image {time}".encode(), encoders, damaged)


def run(bound: float | None, items: Sequence[Any], *, batch: int = 4) -> Camera:
    """What the encode thread does with one camera's items, in batches."""
    stage, camera = EncodeStage(), Camera(bound)
    made: Any = camera
    for start in range(0, len(items), batch):
        groups = [(made, [item] if isinstance(item, Sampled) else item) for item in items[start : start + batch]]
        stage._encode(groups)
    return camera


def taken_from(camera: Camera) -> list[float]:
    """Of each record, whose features it has: the first record with the very same array."""
    return [next(one.time for one in camera.records if one.tokens is record.tokens) for record in camera.records]


def test_a_still_scene_is_encoded_once_and_each_frame_keeps_its_own_time_and_image() -> None:
    encoders = Encoders()
    camera = run(2.0, [frame(t, 100 + t % 2, encoders) for t in range(10)])
    assert (encoders.encoded, camera.stats.features_reused) == (1, 9)
    assert taken_from(camera) == [0] * 10
    assert [(record.time, record.arrival_time, record.image) for record in camera.records] == [
        (t, t, f"image {t}".encode()) for t in range(10)
    ]


def test_slow_changes_do_not_add_up() -> None:
    camera = run(2.0, [frame(t, 100 + t, Encoders()) for t in range(6)])  # twice the whole: 2 per step
    assert taken_from(run(2.0, [frame(t, 100 + t, e) for e in [Encoders()] for t in range(6)])) == [0, 0, 2, 2, 4, 4]
    assert camera.stats.features_reused == 0  # each frame came with other encoders: another model


def test_not_more_often_than_allowed_in_a_row() -> None:
    encoders = Encoders()
    camera = run(0.0, [frame(t, 7, encoders) for t in range(2 * MOST_IN_A_ROW + 2)], batch=16)
    assert encoders.encoded == 2
    assert taken_from(camera) == [0] * (MOST_IN_A_ROW + 1) + [MOST_IN_A_ROW + 1] * (MOST_IN_A_ROW + 1)


@pytest.mark.parametrize("between", [Interruption("lost"), Dropped(3), Joint("not recording"), "silence"])
def test_never_across_a_gap(between: Any) -> None:
    encoders, late = Encoders(), 60.0 if between == "silence" else 4.0
    items = [frame(t, 7, encoders) for t in range(4)]
    items += ([] if between == "silence" else [between]) + [frame(late + t, 7, encoders) for t in range(3)]
    for batch in (1, 4, 16):
        camera = run(8.0, items, batch=batch)
        assert taken_from(camera) == [0, 0, 0, 0, late, late, late]
    assert [item for item in camera.items if not isinstance(item, FrameRecord)] == (
        [] if between == "silence" else [between]
    )


def test_a_source_that_is_slow_by_its_nature_has_no_gap() -> None:
    encoders = Encoders()
    items = [frame(0, 7, encoders), Pace(10.0), *(frame(10.0 * t, 7, encoders) for t in range(1, 5))]
    assert run(0.0, items).stats.features_reused == 4


def test_damaged_pictures_neither_give_nor_take() -> None:
    encoders = Encoders()
    items = [frame(t, 7, encoders, damaged=t in (1, 2)) for t in range(5)]
    assert taken_from(run(8.0, items)) == [0, 1, 2, 3, 3]


def test_a_small_thing_counts_as_much_as_light_everywhere() -> None:
    plain = np.full((SIDE, SIDE, 3), 100, dtype=np.uint8)
    thing = plain.copy()
    thing[:BLOCK, :BLOCK] = 140
    light = plain + np.uint8(20)
    assert difference(plain, thing) == difference(plain, light) == 40
    assert difference(plain, plain[:8]) == math.inf


@settings(deadline=None, max_examples=60)
@given(arrays(np.uint8, (SIDE, SIDE, 3)), st.integers(0, SIDE - 1), st.integers(0, SIDE - 1), st.integers(0, 255))
def test_bound_zero_reuses_equal_pictures_only(picture: NDArray[np.uint8], row: int, column: int, level: int) -> None:
    other = picture.copy()
    other[row, column, 1] = level
    encoders = Encoders()
    camera = run(0.0, [frame(0, picture, encoders), frame(1, other, encoders)])
    assert (camera.stats.features_reused == 1) == np.array_equal(picture, other)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=12), st.floats(0, 32), st.integers(1, 8))
def test_features_are_of_a_picture_within_the_bound(levels: list[int], bound: float, batch: int) -> None:
    encoders = Encoders()
    items = [frame(t, level, encoders) for t, level in enumerate(levels)]
    camera = run(bound, items, batch=batch)
    assert [record.time for record in camera.records] == list(range(len(levels)))
    for level, source in zip(levels, taken_from(camera), strict=True):
        assert difference(items[int(source)].token_pixels, frame(0, level, encoders).token_pixels) <= bound
    assert camera.stats.features_reused + encoders.encoded == len(levels)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 8))
def test_off_is_bit_identical_to_encoding_every_frame(levels: list[int], batch: int) -> None:
    encoders = Encoders()
    items = [frame(t, level, encoders) for t, level in enumerate(levels)]
    camera = run(None, items, batch=batch)
    made: Any = camera
    plain = [item for start in range(0, len(items), batch)
             for _, item, _ in encode_groups([(made, [one]) for one in items[start : start + batch]])]  # fmt: skip
    for one, other in zip(camera.records, plain, strict=True):
        for key in fields(FrameRecord):
            np.testing.assert_equal(getattr(one, key.name), getattr(other, key.name))
    assert camera.stats.features_reused == 0


def test_a_replay_counts_what_it_reused_for_itself_and_for_the_camera(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, memory = tmp_path / "still.mp4", str(tmp_path / "memory")
    with av.open(str(video), "w") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width = stream.height = 64
        for number in range(16):  # 8 s: black, then white from 4 s on
            picture = np.full((64, 64, 3), 0 if number < 8 else 255, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    replay = ["replay", str(video), "--memory", memory, "--camera", "yard", "--json"]
    for start, option, expected, total in (
        ("08:00", ["--reuse-features", "1"], 6, 6),
        ("09:00", [], 0, 6),
        ("10:00", ["--reuse-features", "1"], 6, 12),
    ):
        assert main([*replay, "--start", f"2026-11-27T{start}", *option]) == 0
        recorded = json.loads(capsys.readouterr().out)["cameras"][0]
        assert (recorded["recorded"], recorded["features_reused"]) == (8, expected)
        assert main(["info", "--memory", memory, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["cameras"][0]["features_reused"] == total
    assert main(["info", "--memory", memory]) == 0
    assert "12 frames took the features of a frame before" in capsys.readouterr().out
    for wrong in ("-1", "33", "nan", "x"):
        assert main([*replay, "--reuse-features", wrong]) == 2
        assert "--reuse-features" in capsys.readouterr().err


def test_a_camera_whose_frames_cannot_be_encoded_fails_alone() -> None:
    good, bad = Encoders(), Encoders()
    bad.vision.encode = lambda frames: 1 / 0
    stage, one, other = EncodeStage(), Camera(0.0), Camera(0.0)
    first: Any = one
    second: Any = other
    stage._encode(
        [(camera, [frame(t, 7, encoders)]) for t in range(3) for camera, encoders in ((first, good), (second, bad))]
    )
    assert (len(one.records), one.stats.features_reused) == (3, 2)
    assert [type(item) for item in other.items] == [ZeroDivisionError]


def test_a_model_that_merges_clips_is_refused_and_one_that_takes_over_reuses_nothing() -> None:
    clips: Any = Encoders(frames_per_record=4)
    with pytest.raises(UsageError, match=r"--reuse-features 2: model 'made-up' merges clips of 4 frames"):
        require_reusable(clips, 2.0)
    require_reusable(clips, None)
    single: Any = Encoders()
    require_reusable(single, 2.0)
    stage, camera = EncodeStage(), Camera(2.0)
    made: Any = camera
    stage._encode([(made, [frame(t, 7, clips) for t in range(4)]), (made, [frame(t, 7, clips) for t in range(4, 8)])])
    assert (camera.stats.features_reused, clips.encoded) == (0, 8)
    assert replace(camera.records[0], image=b"").time == 0
