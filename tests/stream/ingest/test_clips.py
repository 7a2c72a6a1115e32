"""Frames gathered into clips: whole ones at once, short ones at an interruption or the end, each camera for itself."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from afterview.memory.base.records import TimeBasis
from afterview.stream.ingest.clips import ClipGatherer
from afterview.stream.ingest.items import Dropped, Interruption, Joint, Pace
from afterview.stream.ingest.preprocess import Sampled


class Camera:
    """As much of a camera as the gatherer asks for."""

    def __init__(self) -> None:
        self.config, self.stats = SimpleNamespace(fps=1.0), SimpleNamespace(short_clips=0)


LEFT: Any = Camera()
RIGHT: Any = Camera()
LOST = Interruption("lost")


def encoders(frames_per_clip: int) -> Any:
    """As much of a model's encoders as the gatherer asks for."""
    tokens = SimpleNamespace(frames_per_record=frames_per_clip)
    return SimpleNamespace(feature_spec=SimpleNamespace(tokens=tokens))


SINGLE, CLIPS, OTHER = encoders(1), encoders(3), encoders(2)


def frame(number: float, encoders: Any = CLIPS) -> Sampled:
    pixels = np.zeros((1, 1, 3), dtype=np.uint8)
    return Sampled(float(number), 0.0, math.nan, TimeBasis.FILE, pixels, pixels, b"", encoders)


def numbers(groups: list[Any]) -> list[Any]:
    name = {id(LEFT): "left", id(RIGHT): "right"}
    return [
        (name[id(camera)], [getattr(item, "time", item) for item in group] if isinstance(group, list) else group)
        for camera, group in groups
    ]


def test_single_frames_pass_as_they_come() -> None:
    items = [(LEFT, frame(0, SINGLE)), (RIGHT, frame(1, SINGLE)), (LEFT, LOST), (LEFT, frame(2, SINGLE))]
    gatherer = ClipGatherer()
    assert numbers(gatherer.gather(items)) == [("left", [0]), ("right", [1]), ("left", LOST), ("left", [2])]
    assert gatherer.rest(LEFT) == []


def test_clips_are_whole_and_of_one_camera() -> None:
    gatherer = ClipGatherer()
    assert gatherer.gather([(LEFT, frame(0)), (RIGHT, frame(1)), (LEFT, frame(2))]) == []
    assert numbers(gatherer.gather([(RIGHT, frame(3)), (LEFT, frame(4)), (LEFT, frame(5))])) == [("left", [0, 2, 4])]
    assert numbers(gatherer.rest(RIGHT)) == [("right", [1, 3])]
    assert numbers(gatherer.rest(LEFT)) == [("left", [5])]
    assert gatherer.rest(LEFT) == []


def test_a_silence_that_the_memory_records_as_a_gap_closes_a_clip_and_is_counted() -> None:
    camera: Any = Camera()
    gatherer = ClipGatherer()
    groups = gatherer.gather([(camera, frame(second)) for second in (0, 1, 3, 4, 7, 8, 9, 10)])
    assert [[item.time for item in group] for _, group in groups] == [[0, 1, 3], [4], [7, 8, 9]]  # type: ignore[union-attr]
    assert camera.stats.short_clips == 1
    gatherer.rest(camera)
    assert camera.stats.short_clips == 2


def test_the_pace_of_a_slow_source_is_no_silence() -> None:
    camera: Any = Camera()
    slow = [Pace(30.0), *(frame(30 * number) for number in range(6))]
    groups = ClipGatherer().gather([(camera, item) for item in slow])
    assert groups[0][1] == Pace(30.0)
    assert [[item.time for item in group] for _, group in groups[1:]] == [[0, 30, 60], [90, 120, 150]]  # type: ignore[union-attr]


def test_what_does_not_part_frames_keeps_its_place_between_them() -> None:
    camera: Any = Camera()
    pace, joint = Pace(2.0), Joint("jump", (1.0, 1.0))
    items = [frame(0), pace, joint, frame(1), frame(2), joint]
    groups = ClipGatherer().gather([(camera, item) for item in items])
    assert [[getattr(item, "time", item) for item in group] for _, group in groups[:1]] == [[0, pace, joint, 1, 2]]  # type: ignore[union-attr]
    assert groups[1][1] is joint


@pytest.mark.parametrize("notice", [LOST, Dropped(5)])
def test_an_interruption_and_a_drop_close_their_cameras_clip(notice: Interruption | Dropped) -> None:
    gatherer = ClipGatherer()
    items = [(LEFT, frame(0)), (RIGHT, frame(1)), (LEFT, notice), (LEFT, frame(2)), (LEFT, frame(3)), (LEFT, frame(4))]
    assert numbers(gatherer.gather(items)) == [("left", [0]), ("left", notice), ("left", [2, 3, 4])]
    assert numbers(gatherer.gather([(LEFT, notice)])) == [("left", notice)]


def test_another_models_turn_closes_the_clip_and_its_own_clips_have_its_own_size() -> None:
    gatherer = ClipGatherer()
    items = [(LEFT, frame(0)), (LEFT, frame(1)), (RIGHT, frame(2)), (LEFT, frame(3, OTHER)), (LEFT, frame(4, OTHER))]
    assert numbers(gatherer.gather(items)) == [("left", [0, 1]), ("left", [3, 4])]
    assert numbers(gatherer.gather([(LEFT, frame(5, OTHER)), (LEFT, frame(6))])) == [("left", [5])]
    assert numbers([*gatherer.rest(RIGHT), *gatherer.rest(LEFT)]) == [("right", [2]), ("left", [6])]
