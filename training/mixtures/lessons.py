"""Batches of worlds with their questions, as the study takes them. A batch depends only on its arguments. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from afterview.memory.plans.visibility import ForgettingConfig, plan_temporal_forgetting
from afterview.training.base.seeds import seeded
from afterview.training.mixtures.plan import LessonConfig, MixturePlan, length_of_batch
from afterview.training.mixtures.told import Asked, Told
from afterview.training.tiny.stories import StoryBatch, choose_frames
from afterview.training.tiny.texts import padded

KINDS: Final = ("open", "choice")  # what a batch's kinds number


def lesson(
    mixture: MixturePlan, worlds: Mapping[str, Sequence[Told]], config: LessonConfig, forgetting: ForgettingConfig, *,
    seed: int, number: int,
) -> StoryBatch:  # fmt: skip
    """Batch `number` of a mixture."""
    length = length_of_batch(mixture, number)
    rng = seeded(f"mixtures 1, {length}, seed {seed}, batch {number}")
    draw = np.random.default_rng(rng.getrandbits(64))
    chosen = rng.choices(worlds[length], k=config.stories)
    asked = [_drawn(rng.sample(world.asked, len(world.asked)), config.questions) for world in chosen]
    frames = [_recalled(world, some, config, forgetting, draw) for world, some in zip(chosen, asked, strict=True)]
    return batch_of(chosen, asked, frames, forgetting)


def _drawn(shuffled: Sequence[Asked], count: int) -> list[Asked]:
    return [shuffled[number % len(shuffled)] for number in range(count)]


def _recalled(
    world: Told, asked: Sequence[Asked], config: LessonConfig, forgetting: ForgettingConfig, draw: np.random.Generator
) -> NDArray[np.int64]:
    """The frames that MemAug may attend to: as a good recall chooses, those that prove the answers, then all events, then others."""
    wanted = [
        visible_frames(world.span, forgetting),
        np.arange(max(0, world.span - config.window), world.span),
        *(one.proof for one in asked),
        *world.events,
        *(np.array([event[0] - 1, event[-1] + 1]) for event in world.events),
    ]
    return choose_frames(world.span, min(config.frames, world.span), np.concatenate(wanted), draw)


def visible_frames(span: int, forgetting: ForgettingConfig) -> NDArray[np.int64]:
    """The decayed frames of a span."""
    return plan_temporal_forgetting(
        span, ratio=forgetting.temporal_ratio, minimum=forgetting.min_frames, maximum=forgetting.max_frames
    )


def batch_of(
    worlds: Sequence[Told], asked: Sequence[Sequence[Asked]], frames: Sequence[NDArray[np.int64]],
    forgetting: ForgettingConfig,
) -> StoryBatch:  # fmt: skip
    """A batch of worlds [S] with as many questions about each, and as many recalled frames [N] of each."""
    pairs = [(world, kept, one) for world, kept, some in zip(worlds, frames, asked, strict=True) for one in some]
    texts = [one.text for _, _, one in pairs]
    proofs = np.stack([np.isin(kept, one.proof) for _, kept, one in pairs])
    return StoryBatch(
        rows=np.stack([world.rows[kept] for world, kept in zip(worlds, frames, strict=True)]).astype(np.int64),
        numbers=np.stack(frames),
        spans=np.array([world.span for world in worlds]),
        visible=np.stack(
            [np.searchsorted(kept, visible_frames(world.span, forgetting)) for world, kept in zip(worlds, frames, strict=True)]
        ),
        after=padded([text.after for text in texts]),
        after_lengths=np.array([len(text.after) for text in texts]),
        question=np.array([text.question for text in texts]),
        words=np.array([text.words for text in texts]),
        answers=padded([text.answer for text in texts]),
        answer_lengths=np.array([len(text.answer) for text in texts]),
        needles=proofs,
        firsts=proofs,
        kinds=np.array([KINDS.index(one.form) for _, _, one in pairs]),
        denied=np.array([one.truth == "no" for _, _, one in pairs]),
    )  # fmt: skip
