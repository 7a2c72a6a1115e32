"""Marks of clips: only whole clips count, whatever was removed, cut off or left out."""

import numpy as np
import pytest

from afterview.memory.plans.clip_marks import (
    LOOSE,
    begins_clip,
    ends_clip,
    marks_of,
    runs_without_gap,
    torn_frames,
    whole_clips,
    without_parts,
)


def test_marks_say_place_and_size() -> None:
    marks = marks_of(10, 4)
    assert marks.tolist() == [64, 65, 66, 67, 64, 65, 66, 67, 32, 33]
    assert [ends_clip(mark) for mark in marks.tolist()] == [False] * 3 + [True] + [False] * 3 + [True, False, True]
    assert [begins_clip(mark) for mark in marks.tolist()] == [True] + [False] * 3 + [True] + [False] * 3 + [True, False]
    assert ends_clip(LOOSE)
    assert not begins_clip(LOOSE)
    assert len(marks_of(0, 4)) == 0


def test_whole_clips_are_those_all_of_whose_frames_are_there() -> None:
    marks, ids = marks_of(14, 4), np.arange(20, 34)
    clips = whole_clips(ids, marks)
    assert clips.starts.tolist() == [0, 4, 8, 12]
    assert clips.sizes.tolist() == [4, 4, 4, 2]
    assert clips.rows().tolist() == list(range(14))
    assert clips.rows(np.array([1, 3])).tolist() == [4, 5, 6, 7, 12, 13]
    for gone in range(14):
        held = np.delete(np.arange(14), gone)
        left = whole_clips(ids[held], marks[held])
        own = [number for number in range(14) if number // 4 != gone // 4]
        assert held[left.rows()].tolist() == own
    assert len(whole_clips(ids[:0], marks[:0])) == 0
    assert whole_clips(ids[2:7], marks[2:7]).rows().tolist() == []  # both ends cut


def test_a_part_of_a_clip_before_another_clip_is_no_clip() -> None:
    marks = np.concatenate([marks_of(4, 4)[:2], marks_of(4, 4), marks_of(4, 4)[1:], marks_of(1, 4)])
    assert whole_clips(np.arange(10), marks).rows().tolist() == [2, 3, 4, 5, 9]
    assert without_parts(marks).tolist() == [0, 0, 64, 65, 66, 67, 0, 0, 0, 16]


@pytest.mark.parametrize(("frames", "torn"), [(0, 0), (4, 0), (5, 1), (7, 3), (8, 0)])
def test_a_torn_clip_is_the_beginning_of_one(frames: int, torn: int) -> None:
    assert torn_frames(marks_of(12, 4)[:frames].tolist()) == torn
    assert torn_frames([*marks_of(12, 4)[:frames].tolist(), LOOSE]) == 0


def test_a_clip_does_not_reach_over_a_gap_or_a_removed_frame() -> None:
    assert runs_without_gap([3, 4, 5, 8, 9, 10], {10}) == [(0, 3), (3, 5), (5, 6)]
    assert runs_without_gap([3, 4], {3}) == [(0, 2)]
    assert runs_without_gap([], set()) == []
