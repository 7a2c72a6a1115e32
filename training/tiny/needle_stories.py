"""Batches of the needle lessons: pictures in a long video of empty scenes, and lettered questions about them, as arrays.

A story is a chain of clues with its decoys, or a few pictures without clues. Its frames come from the bank (empty scenes) and
from the gallery (pictures). A picture is a single frame, as in the evaluation.

Legend: S stories, q questions per story, N recalled frames, V visible frames.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from afterview.configs import Schema
from afterview.memory.plans.visibility import ForgettingConfig, plan_temporal_forgetting
from afterview.training.base.errors import TrainingError
from afterview.training.base.seeds import seeded
from afterview.training.tiny.needle_bank import Gallery
from afterview.training.tiny.stories import FIRST_STORY_SEED, Shelf, StoryBatch
from afterview.training.tiny.texts import Text, Words, padded
from afterview.training.world.facts import KINDS
from afterview.training.world.needles import (
    FINAL_KINDS,
    SINGLE_KINDS,
    Choice,
    NeedlePicture,
    caption_question,
    final_question,
    single_question,
)
from afterview.training.world.script import WorldConfig, make_script

# What the log of the lessons counts, beside the open questions of each kind.
LESSON_KINDS: Final = (*KINDS, "lettered", "needle", "caption", "final")
DECOYS: Final = 3
_EMPTY: Final = WorldConfig(objects=(0, 0), repeats=(0, 0), digits=(0, 0), words=(0, 0))
_EVEN: Final = 0.6  # share of stories whose pictures are evenly spaced, as in the evaluation


class NeedlePlan(Schema):
    """The needle questions of one lesson. Ranges are inclusive."""

    frames: int = Field(ge=20)  # recalled frames
    tokens_read: int | None = Field(default=None, ge=1, le=64)  # per frame; null: all
    window: int = Field(default=4, ge=0)  # newest frames, always among them
    stories: int = Field(default=6, ge=1)
    questions: int = Field(default=10, ge=1)  # per story
    lettered: float = Field(
        default=0.0, ge=0, le=1
    )  # share of questions with options; the others are answered in words
    single: float = Field(default=0.4, ge=0, le=1)  # share of stories without clues
    hops: tuple[int, ...] = (1,)  # of a chain; drawn evenly
    # Pictures without a clue beside the chains, at most: otherwise "a picture without a clue" is half of what a chain's end is.
    others: int = Field(default=0, ge=0)
    duration_s: tuple[float, float] = (110.0, 12_000.0)  # log-uniform


@dataclass(frozen=True)
class NeedleBatch(StoryBatch):
    """A StoryBatch, in which frames with a clue lead to the needles.

    openings int64 [S * q]: tokens of each question's first sentence, "Find the frame of ...". The rest of a chain's question has five
    times as many, most of them single letters: evidence over all of them would hardly depend on what is to be found.
    """

    openings: NDArray[np.int64]


@dataclass(frozen=True)
class _Story:
    span: int
    rows: NDArray[np.int64]  # [N]
    numbers: NDArray[np.int64]  # [N]
    questions: list[Choice]
    proofs: list[int]  # frame number of each question's last picture
    clues: list[tuple[int, ...]]  # frame numbers of the pictures before it


@dataclass(frozen=True)
class Albums:
    """The gallery, by what its pictures show. Numbers of pictures."""

    gallery: Gallery
    plain: dict[str, list[int]]  # without a clue, by caption
    leading: dict[str, list[int]]  # with a clue, by caption

    @classmethod
    def of(cls, gallery: Gallery) -> "Albums":
        """Sorted by caption. Raises TrainingError if a clue names something that no picture shows."""
        plain: dict[str, list[int]] = {}
        leading: dict[str, list[int]] = {}
        for number, picture in enumerate(gallery.pictures):
            (plain if picture.clue is None else leading).setdefault(picture.caption, []).append(number)
        named = {NeedlePicture(picture.clue).caption for picture in gallery.pictures if picture.clue is not None}
        if lacking := sorted(named - plain.keys() | named - leading.keys()):
            raise TrainingError(f"no picture, or none with a clue, shows {lacking[0]}; give `pictures` more seeds")
        return cls(gallery, plain, leading)


def make_needle_batch(
    plan: NeedlePlan,
    albums: Albums,
    shelf: Shelf,
    words: Words,
    forgetting: ForgettingConfig,
    *,
    seed: int,
    number: int,
) -> NeedleBatch:
    """Batch `number`. Depends only on its arguments."""
    rng = seeded(f"needle stories 1, seed {seed}, batch {number}")
    draw = np.random.default_rng(rng.getrandbits(64))
    stories = [_story(plan, albums, shelf, forgetting, rng, draw) for _ in range(plan.stories)]
    texts = [
        words.choose(choice, story.span, in_words=rng.random() >= plan.lettered)
        for story in stories
        for choice in story.questions
    ]
    return NeedleBatch(
        rows=np.stack([story.rows for story in stories]),
        numbers=np.stack([story.numbers for story in stories]),
        spans=np.array([story.span for story in stories]),
        visible=np.stack([np.searchsorted(story.numbers, _visible(story.span, forgetting)) for story in stories]),
        **_text_arrays(texts),
        needles=np.stack([story.numbers == proof for story in stories for proof in story.proofs]),
        firsts=np.stack(
            [
                np.isin(story.numbers, clue or (proof,))
                for story in stories
                for proof, clue in zip(story.proofs, story.clues, strict=True)
            ]
        ),
        openings=np.array([_opening(text, words) for text in texts]),
        kinds=np.array([LESSON_KINDS.index(_logged(choice)) for story in stories for choice in story.questions]),
        denied=np.zeros(plan.stories * plan.questions, bool),
    )


def _logged(choice: Choice) -> str:
    return choice.kind if choice.kind in ("caption", "final") else "needle"


def _opening(text: Text, words: Words) -> int:
    """Tokens of the question's first sentence; of the whole question if it is one sentence."""
    start, end = text.question
    question = text.after[start:end]
    stops = [place for place, token in enumerate(question) if token == words.full_stop]
    return stops[0] + 1 if stops else len(question)


def _text_arrays(texts: Sequence[Text]) -> dict[str, NDArray[np.int64]]:
    return {
        "after": padded([text.after for text in texts]),
        "after_lengths": np.array([len(text.after) for text in texts]),
        "question": np.array([text.question for text in texts]),
        "words": np.array([text.words for text in texts]),
        "answers": padded([text.answer for text in texts]),
        "answer_lengths": np.array([len(text.answer) for text in texts]),
    }


def _story(
    plan: NeedlePlan, albums: Albums, shelf: Shelf, forgetting: ForgettingConfig, rng: Random, draw: np.random.Generator
) -> _Story:
    low, high = plan.duration_s
    span = math.floor(math.exp(rng.uniform(math.log(low), math.log(high))))
    single = rng.random() < plan.single
    if single:
        chosen = _plain(albums, rng, rng.choice((1, 1, 2, 4)))
        chains = [[number] for number in chosen]
    else:
        hops = rng.choice(plan.hops)
        chains = _chains(albums, rng, hops)
        chosen = [n for chain in chains for n in chain]
        chains = [chain[-hops - 1 :] for chain in chains]  # of the decoys, too, only so many hops are asked about
        chosen += _others(albums, chosen, rng.randint(0, plan.others) if plan.others else 0, rng)
        rng.shuffle(chosen)
    at = dict(zip(chosen, _places(len(chosen), span, rng), strict=True))
    questions, proofs, clues = [], [], []
    for _ in range(plan.questions):
        choice, chain = _ask(albums.gallery.pictures, chains, chosen, rng, single=single)
        questions.append(choice)
        proofs.append(at[chain[-1]])
        clues.append(tuple(at[number] for number in chain[:-1]))
    numbers = _recalled(plan, span, sorted(at.values()), forgetting, draw)
    rows = _rows(numbers, {place: albums.gallery.first_row + n for n, place in at.items()}, span, shelf, rng, draw)
    return _Story(span, rows, numbers, questions, proofs, clues)


def _ask(
    pictures: Sequence[NeedlePicture], chains: list[list[int]], chosen: list[int], rng: Random, *, single: bool
) -> tuple[Choice, list[int]]:
    """A question, and the pictures that lead to its answer."""
    manner = rng.random()
    if single or manner < 0.15:
        number = rng.choice(chosen)
        thing = pictures[number].thing
        able = [thing.kind] if thing.kind != "object" else [k for k in SINGLE_KINDS if k not in ("digit", "word")]
        kinds = [kind for kind in able if kind not in ("colour", "shape") or _alone(pictures, chosen, number, kind)]
        if thing.kind != "object" and not _alone(pictures, chosen, number, thing.kind):
            kinds = ["where"] if thing.kind == "digit" else ["scene"]
        return single_question(rng, pictures[number], rng.choice(kinds)), [number]
    chain = rng.choice([chain for chain in chains if len(chain) > 1])
    first, last = pictures[chain[0]], pictures[chain[-1]]
    if manner < 0.55:
        return caption_question(rng, first, last, [pictures[number] for number in chosen]), chain
    return final_question(rng, first, last, rng.choice(FINAL_KINDS)), chain


def _alone(pictures: Sequence[NeedlePicture], chosen: list[int], number: int, kind: str) -> bool:
    """Whether what a question of this kind tells of the picture is true of no other one."""
    named = {"colour": "shape", "shape": "colour"}.get(kind, "kind")
    same = [getattr(pictures[other].thing, named) for other in chosen]
    return same.count(getattr(pictures[number].thing, named)) == 1


def _plain(albums: Albums, rng: Random, count: int) -> list[int]:
    return [rng.choice(albums.plain[caption]) for caption in rng.sample(sorted(albums.plain), count)]


def _others(albums: Albums, chosen: Sequence[int], count: int, rng: Random) -> list[int]:
    """Pictures without a clue that show what none of the chosen ones shows."""
    taken = {albums.gallery.pictures[number].caption for number in chosen}
    return [rng.choice(albums.plain[caption]) for caption in rng.sample(sorted(albums.plain.keys() - taken), count)]


def _chains(albums: Albums, rng: Random, hops: int) -> list[list[int]]:
    """The chain and the decoys' chain. No two pictures show the same colour and shape."""
    while True:
        chains = [_chain(albums, rng, hops + 1), _chain(albums, rng, DECOYS)]
        captions = [albums.gallery.pictures[number].caption for chain in chains for number in chain]
        if len(set(captions)) == len(captions):
            return chains


def _chain(albums: Albums, rng: Random, length: int) -> list[int]:
    pictures = albums.gallery.pictures
    chain = [rng.choice(albums.leading[rng.choice(sorted(albums.leading))])]
    while len(chain) < length:
        clue = pictures[chain[-1]].clue
        assert clue is not None, "only the last picture has none"
        wanted = NeedlePicture(clue).caption
        chain.append(rng.choice((albums.plain if len(chain) + 1 == length else albums.leading)[wanted]))
    return chain


def _places(count: int, span: int, rng: Random) -> list[int]:
    """Frame numbers of the pictures: evenly spaced from the first to the last frame, or anywhere."""
    if count > 1 and rng.random() < _EVEN:
        return [round(number * (span - 1) / (count - 1)) for number in range(count)]
    return rng.sample(range(span), count)


def _visible(span: int, forgetting: ForgettingConfig) -> NDArray[np.int64]:
    return plan_temporal_forgetting(
        span, ratio=forgetting.temporal_ratio, minimum=forgetting.min_frames, maximum=forgetting.max_frames
    )


def _recalled(
    plan: NeedlePlan, span: int, pictures: list[int], forgetting: ForgettingConfig, draw: np.random.Generator
) -> NDArray[np.int64]:
    """Frames that MemAug may attend to, ascending: the visible ones, the pictures, the newest, their neighbours, others at random."""
    classes = [
        _visible(span, forgetting),
        np.array(pictures),
        np.arange(span - plan.window, span),
        np.array([number + side for number in pictures for side in (-1, 1)]),
        draw.permutation(span)[: 4 * plan.frames],
    ]
    wanted = np.concatenate(classes)
    wanted = wanted[(wanted >= 0) & (wanted < span)]
    _, first = np.unique(wanted, return_index=True)
    return np.sort(wanted[np.sort(first)][: plan.frames])


def _rows(
    numbers: NDArray[np.int64],
    pictures: dict[int, int],
    span: int,
    shelf: Shelf,
    rng: Random,
    draw: np.random.Generator,
) -> NDArray[np.int64]:
    script = make_script(FIRST_STORY_SEED + rng.getrandbits(40), float(span), _EMPTY)
    rows = np.empty(len(numbers), np.int64)
    for place, number in enumerate(numbers.tolist()):
        empty = shelf.backgrounds[script.segment_at(float(number)).scene]
        rows[place] = pictures.get(number, int(empty[draw.integers(len(empty))]))
    return rows


def joined_fields(batch: NeedleBatch) -> StoryBatch:
    """The part of the batch that every study has."""
    return StoryBatch(**{field.name: getattr(batch, field.name) for field in fields(StoryBatch)})
