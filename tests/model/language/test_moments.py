"""A MOMENT token is read as the time of the evidence; models without it do not change."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import afterview
from afterview.memory.directory import Memory
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.language.decoder import TextStream
from afterview.model.language.moments import MOMENT, clock, moment_id, onset
from afterview.model.language.tokenizer import byte_tokenizer
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Question
from afterview.training.evaluation.judge import clock_seconds
from tests.afterview.cli.test_presets import replay
from tests.support.clips import make_clip
from tests.support.presets import write_preset


@pytest.mark.parametrize(
    ("frames", "weights", "row"),
    [
        ([3, 4, 5, 9], [0.1, 0.2, 0.6, 0.1], 0),  # the run that ends at the largest weight
        ([3, 4, 5, 9], [0.001, 0.2, 0.6, 0.1], 1),  # without frames of little attention
        ([3, 5, 6, 9], [0.3, 0.1, 0.5, 0.1], 1),  # and not across frames that were not recalled
        ([0, 1, 2], [0.5, 0.3, 0.2], 0),
        ([7], [1.0], 0),
    ],
)
def test_the_onset_of_the_evidence(frames: list[int], weights: list[float], row: int) -> None:
    assert onset(np.array(weights), np.array(frames)) == row


def test_a_clock_counts_on_past_a_day() -> None:
    assert [clock(s) for s in (0, 59.9, 3661, 90_000)] == ["00:00:00", "00:00:59", "01:01:01", "25:00:00"]


def test_a_token_that_stands_for_a_time_is_read_as_that_time() -> None:
    tokenizer = byte_tokenizer()
    assert moment_id(tokenizer) is None
    tokenizer.add_special_tokens({"additional_special_tokens": [MOMENT]})
    ids = tokenizer(f"at é{MOMENT}, {MOMENT}")["input_ids"]
    pointer = moment_id(tokenizer)
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
