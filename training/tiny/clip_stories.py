"""Training stories of the small VideoChat-Flash: scripts of the world whose clips come from the bank, with questions, as arrays.

As in training.tiny.stories, a story is never rendered: each of its events uses clips of the same thing in the same scene. Its video are
clips of four frames, as dense sampling takes them: those that show what is asked about, other events, and evenly spread empty ones.

Legend: S stories, q questions per story, C clips of a video, L tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.base.settings import FRAMES_PER_CLIP
from afterview.model.language.prompt import SYSTEM, VIDEOCHAT_FLASH_TIME
from afterview.training.base.seeds import seeded
from afterview.training.tiny.lessons import LessonPlan
from afterview.training.tiny.stories import Shelf, Story, draw_story
from afterview.training.tiny.texts import padded
from afterview.training.tiny.windows import WindowJob, shelf_of_windows
from afterview.training.tiny.word_noise import add_word_noise
from afterview.training.world import WorldQuestion
from afterview.training.world.facts import KINDS
from afterview.training.world.rewording import reworded
from afterview.training.world.script import Event

# How long a story must be: the rule of draw_story asks for more frames than these.
_SHORTEST: Final = ForgettingConfig(max_frames=2, min_frames=2, temporal_ratio=1)


@dataclass(frozen=True)
class ClipShelf:
    """The bank without its tokens. offsets, counts: of the first clip of an event, frames before it, and its number of clips."""

    shelf: Shelf
    offsets: dict[int, int]
    counts: dict[int, int]


@dataclass(frozen=True)
class ClipBatch:
    """S stories with q questions each. Texts are padded on the right with 0.

    clips int64 [S, C]: bank clip of each clip of the video. lead int64 [S, L], lead_lengths: the sentence about the video. texts int64
    [S * q, L]: each question from the blank before it to the end of its answer; question int64 [S * q, 2], answer int64 [S * q, 2]: their
    ranges in it. needles bool [S * q, C]: clips that prove the answer. kinds int64 [S * q]. denied bool [S * q].
    """

    clips: NDArray[np.int64]
    lead: NDArray[np.int64]
    lead_lengths: NDArray[np.int64]
    texts: NDArray[np.int64]
    question: NDArray[np.int64]
    answer: NDArray[np.int64]
    needles: NDArray[np.bool_]
    kinds: NDArray[np.int64]
    denied: NDArray[np.bool_]


class FlashWords:
    """Turns questions and answers into token ids like model.language.conversation, for VideoChat-Flash."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._core = tokenizer.backend_tokenizer
        self._tail = self._ids("<|im_end|>\n<|im_start|>assistant\n")
        self._end = self._ids("<|im_end|>")

    @property
    def head(self) -> list[int]:
        """The prompt before the video."""
        return self._ids(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n")

    def lead(self, frames: int, seconds: float) -> list[int]:
        """What follows the video, up to the question."""
        return self._ids("\n" + VIDEOCHAT_FLASH_TIME.form.format(frames=frames, seconds=seconds))

    def read(
        self, question: WorldQuestion, rng: Random, noisy: float, reword: float
    ) -> tuple[list[int], tuple[int, int], tuple[int, int]]:
        """A question with its answer, and the ranges of the two. noisy, reword: as of a LessonPlan."""
        text = reworded(question.text, rng, reword) if reword else question.text
        text = add_word_noise(text, rng) if rng.random() < noisy else text
        asked = self._ids(VIDEOCHAT_FLASH_TIME.gap + text)
        prompt = asked + self._tail
        answer = self._ids(question.answer) + self._end
        return prompt + answer, (0, len(asked)), (len(prompt), len(prompt) + len(answer))

    def _ids(self, text: str) -> list[int]:
        return self._core.encode(text, add_special_tokens=False).ids


def clip_shelf(jobs: Sequence[WindowJob]) -> ClipShelf:
    """The shelf of a planned bank."""
    offsets, counts = {}, {}
    for job in jobs:
        for event, clip in job.events:
            begins = int(job.job.times[(clip - job.first_clip) * FRAMES_PER_CLIP])
            offsets[clip] = math.ceil(event.start_s) - begins
            counts[clip] = -(-(math.ceil(event.end_s) - begins) // FRAMES_PER_CLIP)
    return ClipShelf(shelf_of_windows(list(jobs)), offsets, counts)


def make_clip_batch(plan: LessonPlan, shelf: ClipShelf, words: FlashWords, *, seed: int, number: int) -> ClipBatch:
    """Batch `number` of a lesson, of `plan.frames` frames each. Depends only on its arguments."""
    rng = seeded(f"clip stories 1, {plan.name}, seed {seed}, batch {number}")
    draw = np.random.default_rng(rng.getrandbits(64))
    count = plan.frames // FRAMES_PER_CLIP
    stories = [draw_story(plan, shelf.shelf, _SHORTEST, rng) for _ in range(plan.stories)]
    videos = [_video(story, count, shelf, draw) for story in stories]
    leads = [words.lead(FRAMES_PER_CLIP * count, story.at_s) for story in stories]
    questions = [question for story in stories for question in story.questions]
    texts = [words.read(question, rng, plan.wobble, plan.reword) for question in questions]
    needles = [
        np.array([shown in question.events for shown in video.shown])
        for story, video in zip(stories, videos, strict=True)
        for question in story.questions
    ]
    return ClipBatch(
        clips=np.array([video.clips for video in videos]),
        lead=padded(leads),
        lead_lengths=np.array([len(lead) for lead in leads]),
        texts=padded([ids for ids, _, _ in texts]),
        question=np.array([asked for _, asked, _ in texts]),
        answer=np.array([said for _, _, said in texts]),
        needles=np.stack(needles),
        kinds=np.array([KINDS.index(question.kind) for question in questions]),
        denied=np.array([not question.seen for question in questions]),
    )


@dataclass(frozen=True)
class _Video:
    """The clips of one story in order, and the number of the event that each shows (-1: none)."""

    clips: list[int]
    shown: list[int]


def _video(story: Story, count: int, shelf: ClipShelf, draw: np.random.Generator) -> _Video:
    """First the clips of what is asked about, then of other events, then empty ones at random times."""
    asked = {number for question in story.questions for number in question.events}
    started = [event for event in story.script.events if event.start_s <= story.at_s]
    others = [event for event in started if event.number not in asked]
    draw.shuffle(others)
    taken: list[tuple[float, int, int]] = []
    for event in [*(event for event in started if event.number in asked), *others]:
        own = _clips_of(event, story, shelf)
        if len(taken) + len(own) <= count:
            taken += own
    while len(taken) < count:
        at = float(draw.uniform(0, story.at_s))
        empty = shelf.shelf.backgrounds[story.script.segment_at(at).scene]
        taken.append((at, int(empty[draw.integers(len(empty))]), -1))
    taken.sort()
    return _Video([clip for _, clip, _ in taken], [number for _, _, number in taken])


def _clips_of(event: Event, story: Story, shelf: ClipShelf) -> list[tuple[float, int, int]]:
    """(time, bank clip, event) of the clips that show an event."""
    first = story.clip_rows[event.number]
    begins = math.ceil(event.start_s) - shelf.offsets[first]
    return [
        (float(begins + FRAMES_PER_CLIP * number), first + number, event.number)
        for number in range(shelf.counts[first])
    ]
