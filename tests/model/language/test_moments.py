"""Pointers are read as times and lengths of the evidence; models without them do not change."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import afterview
from afterview.memory.directory import Memory
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.decoder import TextStream
from afterview.model.language.moments import (
    BETWEEN,
    LASTING,
    MOMENT,
    OPTION,
    OptionText,
    attended,
    clock,
    length,
    onsets,
    option_id,
    pointer_ids,
)
from afterview.model.language.tokenizer import byte_tokenizer
from afterview.model.video_language import VideoInputs
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Question
from afterview.training.evaluation.judge import clock_seconds
from tests.afterview.cli.test_presets import replay
from tests.support.clips import make_clip
from tests.support.presets import write_preset


@pytest.mark.parametrize(
    ("frames", "weights", "rows"),
    [
        ([3, 4, 5, 9], [0.1, 0.2, 0.6, 0.1], (0, 2)),  # the run around the largest weight
        ([3, 4, 5, 9], [0.001, 0.2, 0.6, 0.1], (1, 2)),  # without frames of little attention
        ([3, 5, 6, 9], [0.3, 0.1, 0.5, 0.1], (1, 2)),  # and not across frames that were not recalled
        ([0, 1, 2], [0.5, 0.3, 0.2], (0, 2)),
        ([0, 1, 2], [0.996, 0.003, 0.001], (0, 0)),
        ([7], [1.0], (0, 0)),
    ],
)
def test_the_run_of_attended_frames(frames: list[int], weights: list[float], rows: tuple[int, int]) -> None:
    assert attended(np.array(weights), np.array(frames)) == rows


@pytest.mark.parametrize(
    ("frames", "weights", "rows"),
    [
        ([3, 4, 8, 9], [0.2, 0.5, 0.1, 0.2], (0, 2)),  # two runs, the heavier first
        ([3, 4, 8, 9], [0.1, 0.1, 0.5, 0.3], (2, 0)),
        ([3, 4, 9], [0.9, 0.002, 0.05], (0, 2)),  # what stands right beside a run is not another thing
        ([3, 4, 5, 9], [0.6, 0.002, 0.3, 0.09], (0, 2)),
        ([3, 4], [0.5, 0.5], (0, None)),  # there is only one
        ([3, 9], [1.0, 0.0], (0, None)),
        ([3, 9], [0.97, 0.03], (0, None)),  # too little to be a thing
    ],
)
def test_the_starts_of_the_two_heaviest_runs(
    frames: list[int], weights: list[float], rows: tuple[int, int | None]
) -> None:
    assert onsets(np.array(weights), np.array(frames)) == rows


def test_lengths_in_words() -> None:
    said = [length(seconds) for seconds in (0.4, 1, 72, 3600, 7322)]
    assert said == ["less than a second", "1 second", "1 minute 12 seconds", "1 hour", "2 hours 2 minutes 2 seconds"]


def test_a_clock_counts_on_past_a_day() -> None:
    assert [clock(s) for s in (0, 59.9, 3661, 90_000)] == ["00:00:00", "00:00:59", "01:01:01", "25:00:00"]


def test_a_token_that_stands_for_a_time_is_read_as_that_time() -> None:
    tokenizer = byte_tokenizer()
    assert pointer_ids(tokenizer) == {}
    tokenizer.add_special_tokens({"additional_special_tokens": [MOMENT]})
    ids = tokenizer(f"at é{MOMENT}, {MOMENT}")["input_ids"]
    pointer = pointer_ids(tokenizer)[MOMENT]
    assert ids.count(pointer) == 2
    said, silent = TextStream(tokenizer, {pointer: "00:00:07"}), TextStream(tokenizer)
    assert "".join([*map(said.push, ids), said.rest()]) == "at é00:00:07, 00:00:07"
    assert "".join([*map(silent.push, ids), silent.rest()]) == "at é, "
    cut = TextStream(tokenizer, {pointer: "00:00:07"})
    half = tokenizer("é")["input_ids"][:1]
    assert "".join([*map(cut.push, [*half, pointer])]) == "\ufffd00:00:07"


def test_an_answer_points_into_its_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Paris")
    preset = write_preset(tmp_path, recall={"budget": 20, "window": 4, "nearest": 4})
    replay(preset, make_clip(tmp_path / "clip.mp4", frames=76, rate=10), tmp_path / "memory")
    model = load_pretrained(preset, device="cpu")
    assert model.tokenizer is not None
    model.tokenizer.add_special_tokens({"additional_special_tokens": [MOMENT]})

    def pointing(inputs: object, **settings: object) -> Iterator[tuple[int, int | None]]:
        assert model.tokenizer is not None
        yield from [(0, token) for token in model.tokenizer(f"At {MOMENT}.")["input_ids"]]
        yield 0, None

    monkeypatch.setattr(model.video_language, "generate_several", pointing)
    answer = afterview.ask(tmp_path / "memory", "When did it begin?", model=model)
    coverage, heaviest = answer.parts[0].coverage, answer.evidence[0]
    memory = Memory(tmp_path / "memory")
    door = memory.camera("door")
    shown = {f"At {door.info.show(time)}." for time in door.snapshot().times}
    assert answer.text in shown
    assert answer.text.endswith(" CEST.")  # the camera's zone, as every other time
    (since,) = Answerer(memory, model, times_since_start=True).ask(Question("When did it begin?")).parts
    said = clock_seconds(since.text)
    assert said is not None
    assert since.text == f"At {clock(said)}."
    assert answer.text == f"At {door.info.show(coverage.first_time + said)}."
    assert said <= heaviest.time - coverage.first_time < said + coverage.recalled


def test_lengths_are_copied_from_the_times_of_the_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = write_preset(tmp_path, recall={"budget": 40, "window": 4, "nearest": 40})
    replay(preset, make_clip(tmp_path / "clip.mp4", frames=76, rate=10), tmp_path / "memory")
    model = load_pretrained(preset, device="cpu")
    assert model.tokenizer is not None
    model.tokenizer.add_special_tokens({"additional_special_tokens": [MOMENT, LASTING, BETWEEN]})
    said, weights = f"{LASTING}, {MOMENT}; {BETWEEN}", np.zeros(0)

    def pointing(inputs: Sequence[VideoInputs], **settings: object) -> Iterator[tuple[int, int | None]]:
        assert model.tokenizer is not None
        yield from [(0, token) for token in model.tokenizer(said)["input_ids"]]
        yield 0, None

    def attending(self: AfterviewModel, *given: Any) -> list[VideoInputs]:
        return [replace(one, frame_weights=weights) for one in real_inputs(self, *given)]

    real_inputs = AfterviewModel.video_inputs
    monkeypatch.setattr(model.video_language, "generate_several", pointing)
    monkeypatch.setattr(AfterviewModel, "video_inputs", attending)
    memory = Memory(tmp_path / "memory")
    door = memory.camera("door").snapshot()
    assert (door.frames, door.info.fps) == (38, 5)  # all are recalled
    asked = Answerer(memory, model, times_since_start=True)
    for runs, answer in (
        ({range(5, 15): 0.06, range(30, 31): 0.1}, "less than a second, 00:00:06; 5 seconds"),
        ({range(5, 15): 0.06, range(30, 31): 0.05}, "2 seconds, 00:00:01; 5 seconds"),
        ({range(20, 38): 0.05}, "4 seconds, 00:00:04; I saw only one of the two"),
    ):
        weights = np.array([sum(weight for run, weight in runs.items() if row in run) for row in range(38)])
        assert asked.ask(Question("How long did it last?")).text == answer


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        (["red"], "B"),
        (["dark", " red"], "C"),  # not the B that it begins like
        ([" Red", ".\n"], "B"),
        (["A Ring, a star,"], "D"),
        (["green"], "green"),  # no option: a letter would be a guess
        ([""], ""),
    ],
)
def test_words_after_the_token_become_the_letter_of_their_option(pieces: list[str], said: str) -> None:
    text = OptionText({"A": "blue", "B": "red", "C": "dark red", "D": "a ring, a star"})
    assert text.push("It is ") == "It is "
    text.begin()
    assert [text.push(piece) for piece in pieces] == [""] * len(pieces)  # nothing is shown before it is known
    assert text.rest() == said
    plain = OptionText({"A": "red"})
    assert (plain.push("red"), plain.rest()) == ("red", "")  # without the token words stay words


def test_of_two_options_with_the_same_words_neither_is_chosen() -> None:
    text = OptionText({"A": "Red.", "B": "red", "C": "blue"})
    text.begin()
    text.push("red")
    assert text.rest() == "red"


def test_a_question_with_options_is_answered_by_a_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = write_preset(tmp_path, recall={"budget": 20, "window": 4, "nearest": 4})
    replay(preset, make_clip(tmp_path / "clip.mp4", frames=30, rate=10), tmp_path / "memory")
    model = load_pretrained(preset, device="cpu")
    assert model.tokenizer is not None
    assert option_id(model.tokenizer) is None
    model.tokenizer.add_special_tokens({"additional_special_tokens": [OPTION]})

    def choosing(inputs: object, **settings: object) -> Iterator[tuple[int, int | None]]:
        assert model.tokenizer is not None
        yield from [(0, token) for token in model.tokenizer(f"{OPTION}red")["input_ids"]]
        yield 0, None

    monkeypatch.setattr(model.video_language, "generate_several", choosing)
    asked = Answerer(Memory(tmp_path / "memory"), model)
    pieces: list[str] = []
    answer = asked.ask(Question("What colour?\nA. blue\nB. red"), on_text=lambda *said: pieces.append(str(said)))
    assert answer.text == "B"
    assert not any("red" in piece for piece in pieces)
    assert asked.ask(Question("What colour?")).text == "red"
