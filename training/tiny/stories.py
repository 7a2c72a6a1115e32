"""Training stories: scripts of the world whose frames come from the bank, with questions about them, as arrays.

A story is never rendered. Each of its events uses a clip of the same thing, scene and length from the bank and takes
that clip's place and motion, so the truth stays exact. Only the frames that recall would return are listed: all events,
the decayed frames, the newest window, and evenly spread others.

Legend: S stories, q questions per story, N recalled frames, V visible frames, L tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from afterview.memory.plans.positions import thinned
from afterview.memory.plans.visibility import ForgettingConfig, plan_temporal_forgetting, plan_visible
from afterview.training.base.errors import TrainingError
from afterview.training.base.seeds import seeded
from afterview.training.tiny.bank import Job
from afterview.training.tiny.lessons import LessonPlan
from afterview.training.tiny.texts import Words, padded
from afterview.training.world import QuestionPlan, WorldQuestion, questions_at, settled_time
from afterview.training.world.facts import KINDS
from afterview.training.world.script import Event, Script, make_script
from afterview.training.world.story import LONGEST_EVENT_S
from afterview.training.world.vocabulary import FIRST_TRAINING_SEED, SCENES

# Above the seeds of the bank, so that no story shares a seed with its scenery.
FIRST_STORY_SEED: Final = FIRST_TRAINING_SEED + 1_000_000
_Key = tuple[str | None, ...]


@dataclass(frozen=True)
class Shelf:
    """The bank without its pixels: clips by what they show, and rows of empty scenes."""

    clips: dict[_Key, list[tuple[Event, int]]]
    backgrounds: dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class StoryBatch:
    """S stories with q questions each. Texts are padded on the right with 0.

    rows, numbers int64 [S, N]: bank row and frame number of each recalled frame. spans int64 [S]. visible int64 [S, V]:
    indices among the N. after int64 [S * q, L], after_lengths, question, words int64 [S * q, 2]: the prompt after the video,
    and the ranges in it of the question and of all that the user wrote (training.tiny.texts). answers int64 [S * q, L'],
    answer_lengths: with the token that ends the turn. needles bool [S * q, N]: frames that prove the answer. firsts, of the
    same shape: frames that lead to these; where nothing leads to them, the needles. kinds int64 [S * q]. denied bool [S * q]:
    the thing asked about was not seen.
    """

    rows: NDArray[np.int64]
    numbers: NDArray[np.int64]
    spans: NDArray[np.int64]
    visible: NDArray[np.int64]
    after: NDArray[np.int64]
    after_lengths: NDArray[np.int64]
    question: NDArray[np.int64]
    words: NDArray[np.int64]
    answers: NDArray[np.int64]
    answer_lengths: NDArray[np.int64]
    needles: NDArray[np.bool_]
    firsts: NDArray[np.bool_]
    kinds: NDArray[np.int64]
    denied: NDArray[np.bool_]


@dataclass(frozen=True)
class Story:
    """One story, as of `at_s`."""

    script: Script
    at_s: float
    clip_rows: tuple[int, ...]  # first bank row of each event
    questions: list[WorldQuestion]

    @property
    def span(self) -> int:
        """Number of frames so far: one at every whole second."""
        return math.floor(self.at_s) + 1


def shelf_of(jobs: Sequence[Job]) -> Shelf:
    """The shelf of a planned bank."""
    clips: dict[_Key, list[tuple[Event, int]]] = {}
    empty: dict[str, list[int]] = {scene: [] for scene in SCENES}
    for job in jobs:
        row_of = {t: row for row, t in enumerate(job.times, job.first_frame)}
        busy: set[int] = set()
        for event in job.script.events:
            first = math.ceil(event.start_s)
            busy.update(range(first, math.ceil(event.end_s)))
            clips.setdefault(shelf_key(event), []).append((event, row_of[float(first)]))
        empty[job.scene] += [row for t, row in row_of.items() if int(t) not in busy]
    return Shelf(clips, {scene: np.array(rows) for scene, rows in empty.items()})


def make_batch(
    plan: LessonPlan, shelf: Shelf, words: Words, forgetting: ForgettingConfig, *, seed: int, number: int
) -> StoryBatch:
    """Batch `number` of a lesson. Depends only on its arguments."""
    rng = seeded(f"stories 1, {plan.name}, seed {seed}, batch {number}")
    draw = np.random.default_rng(rng.getrandbits(64))
    stories = [draw_story(plan, shelf, forgetting, rng) for _ in range(plan.stories)]
    seen = [_visible(story.span, forgetting, draw) for story in stories]
    frames = [
        thinned(_recall(story, plan, shown, draw), shown, forgetting.repository_scale)
        for story, shown in zip(stories, seen, strict=True)
    ]
    visible = [np.searchsorted(kept, shown) for kept, shown in zip(frames, seen, strict=True)]
    texts = [
        words.read(question, story.span, rng, plan.wobble, plan.reword)
        for story in stories
        for question in story.questions
    ]
    asked = [(kept, question) for story, kept in zip(stories, frames, strict=True) for question in story.questions]
    return StoryBatch(
        rows=np.stack([_bank_rows(story, kept, shelf, draw) for story, kept in zip(stories, frames, strict=True)]),
        numbers=np.stack(frames),
        spans=np.array([story.span for story in stories]),
        visible=np.stack(visible),
        after=padded([text.after for text in texts]),
        after_lengths=np.array([len(text.after) for text in texts]),
        question=np.array([text.question for text in texts]),
        words=np.array([text.words for text in texts]),
        answers=padded([text.answer for text in texts]),
        answer_lengths=np.array([len(text.answer) for text in texts]),
        needles=(proofs := np.stack([_inside(kept, question.spans) for kept, question in asked])),
        firsts=proofs,
        kinds=np.array([KINDS.index(question.kind) for story in stories for question in story.questions]),
        denied=np.array([not question.seen for story in stories for question in story.questions]),
    )


def draw_story(plan: LessonPlan, shelf: Shelf, forgetting: ForgettingConfig, rng: Random) -> Story:
    """A story that something can be asked about, and long enough for the same number of recalled and visible frames in every batch."""
    shortest = max(plan.frames, forgetting.max_frames * forgetting.temporal_ratio) + 1
    while True:
        low, high = plan.duration_s
        duration = round(math.exp(rng.uniform(math.log(low), math.log(high))), 1)
        script, rows = use_clips(make_script(FIRST_STORY_SEED + rng.getrandbits(40), duration, plan.world), shelf, rng)
        at = settled_time(script, _moment(script, rng))
        if at < max(shortest, 0.3 * duration):
            continue
        asked = [question for kind in _draw_kinds(plan, rng) for question in _ask(script, at, kind, plan, rng)]
        if asked:
            return Story(script, at, rows, [asked[n % len(asked)] for n in range(plan.questions)])


def _moment(script: Script, rng: Random) -> float:
    manner = rng.random()
    lasting = [event for event in script.events if event.end_s - event.start_s >= 3]
    if manner < 0.3 and lasting:
        event = rng.choice(lasting)
        return rng.uniform(event.start_s + 2, event.end_s - 0.05)
    return script.duration_s * (1.0 if manner < 0.7 else rng.uniform(0.4, 1.0))


def _draw_kinds(plan: LessonPlan, rng: Random) -> list[str]:
    return rng.choices(list(plan.kinds), list(plan.kinds.values()), k=plan.questions)


def _ask(script: Script, at: float, kind: str, lesson: LessonPlan, rng: Random) -> list[WorldQuestion]:
    """One question of a kind, or none if there is no fact.

    Each question is drawn separately: otherwise a story with few facts would give many questions about absent things.
    If lesson.asked has values above 1, a later question is used, such as "and in the forest scene?". In a story with
    few facts those are mostly about absent things, from which a new model learns nothing.
    """
    plan = QuestionPlan(count=rng.choice(lesson.asked), kinds=(kind,), seed=rng.getrandbits(32))
    return questions_at(script, at, plan)[-1:]


def use_clips(script: Script, shelf: Shelf, rng: Random) -> tuple[Script, tuple[int, ...]]:
    """The script with every event as a clip of the bank shows it, and the first bank row of each event."""
    events, rows = [], []
    for event in script.events:
        frames, found = _clips_for(event, shelf)
        clip, row = rng.choice(found)
        moves = {name: getattr(clip, name) for name in ("place", "motion", "enters", "leaves")}
        if frames < _frames(event):
            moves["end_s"] = float(math.ceil(event.start_s) + frames)
        events.append(event.model_copy(update=moves))
        rows.append(row)
    fields = {name: getattr(script, name) for name in Script.model_fields}
    return Script.model_construct(**{**fields, "events": tuple(events)}), tuple(rows)


def _clips_for(event: Event, shelf: Shelf) -> tuple[int, list[tuple[Event, int]]]:
    """(number of frames to show, clips of the event): clips of the same length, otherwise the start of longer ones, otherwise shorter ones.

    A small bank lacks some lengths of some things. Raises TrainingError if it has no clip of the thing.
    """
    wanted = _frames(event)
    for frames in (*range(wanted, LONGEST_EVENT_S + 1), *range(wanted - 1, 0, -1)):
        found = shelf.clips.get(_key(event, event.scene, frames))
        if found:
            return min(frames, wanted), found
    raise TrainingError(f"the bank has no clip of '{event.name}' in the {event.scene}; give it more seeds or clips")


def _recall(story: Story, plan: LessonPlan, visible: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.int64]:
    """The N frames that MemAug may attend to, ascending: first those asked about, then as recall chooses."""
    asked = {number for question in story.questions for number in question.events}
    started = [event for event in story.script.events if event.start_s <= story.at_s]
    classes = [
        visible,
        np.arange(max(0, story.span - plan.window), story.span),
        *(_shown(event) for event in started if event.number in asked),
        *(_shown(event) for event in started if event.number not in asked),
        *(np.array([_shown(event)[0] - 1, _shown(event)[-1] + 1]) for event in started),
    ]
    return choose_frames(story.span, plan.frames, np.concatenate(classes), draw)


def choose_frames(span: int, count: int, candidates: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.int64]:
    """`count` frames of a span, ascending: the first candidates that lie in it, then others at even distances."""
    chosen: list[int] = []
    taken: set[int] = set()
    for number in candidates.tolist():
        if 0 <= number < span and number not in taken and len(chosen) < count:
            taken.add(number)
            chosen.append(number)
    if len(chosen) < count:
        rest = np.setdiff1d(np.arange(span), chosen)
        picks = np.linspace(0, len(rest) - 1, count - len(chosen)) + draw.uniform(-0.4, 0.4)
        filled = np.unique(np.clip(np.rint(picks), 0, len(rest) - 1).astype(int))
        chosen += rest[filled].tolist()
    short = count - len(chosen)
    if short:
        chosen += draw.choice(np.setdiff1d(np.arange(span), chosen), short, replace=False).tolist()
    return np.sort(np.array(chosen, np.int64))


def _visible(span: int, forgetting: ForgettingConfig, draw: np.random.Generator) -> NDArray[np.int64]:
    """Decayed frames. Lessons never use spans so short that frames are repeated. Rules that look at frames choose later: see decayed."""
    if forgetting.temporal == "random":
        return plan_visible(span, forgetting, random_constant=int(draw.integers(2**63)))
    return plan_temporal_forgetting(
        span, ratio=forgetting.temporal_ratio, minimum=forgetting.min_frames, maximum=forgetting.max_frames
    )


def _bank_rows(story: Story, kept: NDArray[np.int64], shelf: Shelf, draw: np.random.Generator) -> NDArray[np.int64]:
    rows = np.empty(len(kept), np.int64)
    for place, number in enumerate(kept.tolist()):
        shown = next(iter(story.script.visible_at(float(number))), None)
        if shown is None:
            empty = shelf.backgrounds[story.script.segment_at(float(number)).scene]
            rows[place] = empty[draw.integers(len(empty))]
        else:
            rows[place] = story.clip_rows[shown.number] + number - math.ceil(shown.start_s)
    return rows


def _inside(kept: NDArray[np.int64], spans: Sequence[tuple[float, float]]) -> NDArray[np.bool_]:
    """Which frames are in these spans."""
    mask = np.zeros(len(kept), bool)
    for start, end in spans:
        mask |= (kept >= start) & (kept < max(end, start + 1e-6))
    return mask


def _shown(event: Event) -> NDArray[np.int64]:
    return np.arange(math.ceil(event.start_s), math.ceil(event.end_s))


def _frames(event: Event) -> int:
    return math.ceil(event.end_s) - math.ceil(event.start_s)


def shelf_key(event: Event) -> _Key:
    """By what a shelf finds clips of an event."""
    return _key(event, event.scene, _frames(event))


def _key(event: Event, scene: str, frames: int) -> _Key:
    return event.kind, event.colour, event.shape, event.size, event.text, scene, str(frames)
