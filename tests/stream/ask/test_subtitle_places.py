"""Subtitles by time: between the clips of a video that the decoder reads, as published, and with their times where a memory is read."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from afterview.memory.directory import Memory
from afterview.memory.plans.clips import ClipLayout
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.conversation import build
from afterview.model.language.prompt import IMAGE_ID
from afterview.model.language.tokenizer import byte_tokenizer
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Question
from afterview.stream.ask.shown_subtitles import ShownSubtitles
from afterview.stream.ask.subtitle_places import SeenFrames, between_clips, by_time, is_seen
from afterview.stream.ask.subtitles import Subtitle
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from tests.support.clips import make_clip
from tests.support.flash import flash_preset
from tests.support.presets import small_model

SECONDS = np.arange(8, dtype=np.float64)  # of eight frames
CLIPS = SeenFrames(SECONDS, (4, 4))


def line(start: float, end: float, text: str = "x") -> Subtitle:
    return Subtitle(start, end, text)


def test_each_stands_between_the_frames_around_its_middle() -> None:
    lines = [line(0.5, 2.1, "a"), line(2.5, 3.5, "b"), line(2.9, 3.6, "c"), line(6.5, 9, "d")]
    texts, parts = between_clips(lines, SeenFrames(SECONDS, (1,) * 8))
    assert texts == ("", "a", "b\nc", "d")  # the middles are 1.3, 3.0, 3.25 and 7.75
    assert parts == (2, 2, 4)


def test_a_clip_is_not_cut() -> None:
    lines = [line(0.5, 2.1, "a"), line(2.5, 3.5, "b"), line(4, 7, "c")]
    # The clips' middles are 1.5 and 5.5: one line before both, one between them, one after.
    assert between_clips(lines, CLIPS) == (("a", "b", "c"), (4, 4))


@pytest.mark.parametrize(
    ("start", "end", "seen"),
    [
        (1.0, 2.0, False),
        (1.0, 2.1, True),
        (0.9, 1.9, True),
        (1.2, 1.3, True),
        (1.5, 1.5, False),
        (2.0, 2.0, True),
        (7.2, 30, False),
    ],
)
def test_one_without_a_frame_is_left_out_as_published(start: float, end: float, seen: bool) -> None:
    assert is_seen(line(start, end), SECONDS) is seen
    shown = by_time(ShownSubtitles((line(start, end),), 9.0, 0, 0, 0, 0), 0.0, CLIPS)
    assert (shown.no_frame, "x" in shown.between, len(shown.lines)) == (int(not seen), seen, int(seen))
    assert shown.to_dict()["form"] == "between the clips"


def test_lines_that_overlap_never_go_back() -> None:
    lines = [line(0, 7, "whole"), line(1.5, 2.5, "early")]
    assert between_clips(lines, SeenFrames(SECONDS, (1,) * 8)) == (("", "whole\nearly", ""), (4, 4))


def test_without_lines_the_video_has_one_place() -> None:
    assert between_clips([], CLIPS) == (("", ""), (8,))


def test_with_their_times() -> None:
    lines = [line(1000.0, 1001), line(1065.9, 1070, "y"), line(4700.0, 4701, "z"), line(999.0, 1002, "before")]
    timed = by_time(ShownSubtitles(tuple(lines), 9000.0, 0, 0, 0, 0), 1000.0, None).lines
    assert [one.text for one in timed] == ["[00:00:00] x", "[00:01:05] y", "[01:01:40] z", "[00:00:00] before"]
    assert [one.start for one in timed] == [one.start for one in lines]


def test_the_prompt_has_a_place_for_each_part() -> None:
    tokenizer = byte_tokenizer()
    prompt = build(tokenizer, "Who?", frames=8, seconds=8.0, between=("a", "b", "c"))
    before = tokenizer.decode(prompt.before)
    assert before.endswith("user\na\n")
    first, last = np.split(prompt.after, prompt.further)
    assert tokenizer.decode(first) == "\nb\n"
    assert tokenizer.decode(last).startswith("\nc\nThe video lasts for 8.00 seconds")
    assert "Who?" in tokenizer.decode(last)
    assert IMAGE_ID not in prompt.after
    plain, one = build(tokenizer, "Who?"), build(tokenizer, "Who?", between=("", ""))
    assert (plain.before.tolist(), plain.after.tolist(), plain.question) == (
        one.before.tolist(), one.after.tolist(), one.question
    )  # fmt: skip


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Answerer, AfterviewModel]:
    """A model that reads clips, and its memory of eight frames from 1000 s on."""
    place = tmp_path_factory.mktemp("clips")
    model = load_pretrained(flash_preset(place), device="cpu", dtype="float32")
    return Answerer(Memory(recorded(place, model)), model), model


def recorded(place: Path, model: AfterviewModel) -> Path:
    clip = make_clip(place / "clip.mp4", frames=16, rate=2)

    async def replay() -> None:
        async with Session(place / "cameras", model.encoders) as session:
            session.add("a", IngestConfig(parse_source(str(clip)), live=False, start=1000.0, short_videos="per-second"))
            await session.run()

    run_loop(replay())
    return place / "cameras"


LINES = (
    line(1000.5, 1003.1, "first"),
    line(1002.9, 1004.1, "second"),
    line(1003.5, 1003.5, "unseen"),
    line(1006.5, 1009, "last"),
)


def asked(**changes: Any) -> Question:
    return Question("Who?", ("a",), subtitles=LINES, subtitles_by_time=True, max_new_tokens=2, **changes)


def test_a_decoder_that_reads_clips_has_them_between(clips: tuple[Answerer, AfterviewModel]) -> None:
    answerer, model = clips
    assert model.tokenizer is not None
    context = answerer.plan("a", asked(), 2000.0)
    assert context.layout.query_groups() == (64, 64)
    texts = [model.tokenizer.decode(part) for part in np.split(context.prompt.after, context.prompt.further)]
    assert model.tokenizer.decode(context.prompt.before).endswith("user\n")
    assert texts[0] == "\nfirst\nsecond\n"
    assert texts[1].startswith("\nlast\nThe video lasts")
    (inputs,) = model.video_inputs([(context.features, context.layout, context.prompt)])
    (start, count), (later, rest) = inputs.visual
    assert (count, rest, later - start - count) == (
        64,
        64,
        len(np.split(context.prompt.after, context.prompt.further)[0]),
    )
    plain = answerer.plan("a", replace(asked(), subtitles=()), 2000.0)
    (whole,) = model.video_inputs([(plain.features, plain.layout, plain.prompt)])
    ((begin, size),) = whole.visual
    one = inputs.inputs_embeds[[*range(start, start + count), *range(later, later + rest)]]
    assert torch.equal(one, whole.inputs_embeds[begin : begin + size])  # the same frames, in order
    answer = answerer.ask(asked(evidence=8))
    (part,) = answer.parts
    said = part.provenance["subtitles"]
    assert isinstance(said, dict)
    assert (said["form"], said["used"], said["no_frame"], said["later"]) == ("between the clips", 3, 1, 0)
    assert sum(one.weight for one in part.evidence) == pytest.approx(1.0)


def test_no_line_from_after_the_moment_stands_between_clips(clips: tuple[Answerer, AfterviewModel]) -> None:
    answerer, model = clips
    assert model.tokenizer is not None
    context = answerer.plan("a", asked(at=1003.1), 2000.0)
    text = model.tokenizer.decode(np.concatenate([context.prompt.before, context.prompt.after]))
    assert "second" in text  # it had begun
    assert "last" not in text.replace("The video lasts", "")
    assert context.layout.query_groups() == (64,)  # all lines follow the only clip


def test_where_a_memory_is_read_each_has_its_time(tmp_path: Path) -> None:
    model = small_model()
    answerer = Answerer(Memory(recorded(tmp_path, model)), model)
    assert model.tokenizer is not None
    text = model.tokenizer.decode(answerer.plan("a", asked(), 2000.0).prompt.after)
    assert "[00:00:00] first\n[00:00:02] second\n[00:00:03] unseen\n[00:00:06] last\nWho?" in text
    said = answerer.ask(asked()).parts[0].provenance["subtitles"]
    assert isinstance(said, dict)
    assert (said["form"], said["used"]) == ("before the question, each with its time", 4)


def test_a_layout_has_as_many_tokens_at_each_place() -> None:
    assert ClipLayout(8, 16, (4, 4), (4, 4)).query_groups() == (64, 64)
    assert ClipLayout(8, 16, (4, 4)).query_groups() == (128,)
