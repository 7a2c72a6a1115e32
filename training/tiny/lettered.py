"""Some questions of the stories get lettered options, as benchmarks ask: the answer is the letter."""

from dataclasses import replace
from random import Random
from typing import Final

import numpy as np
from transformers import PreTrainedTokenizerBase

from afterview.memory.plans.visibility import ForgettingConfig
from afterview.training.tiny.lessons import LessonPlan
from afterview.training.tiny.needle_stories import LESSON_KINDS
from afterview.training.tiny.stories import Shelf, StoryBatch, make_batch
from afterview.training.tiny.texts import Text, Words
from afterview.training.world import WorldQuestion, multiple_choice
from afterview.training.world.needles import Choice, lettered
from afterview.training.world.rewording import reworded

_OPEN: Final = ("when", "last", "gap", "duration")  # times and lengths, which the model does not spell
_PUBLISHED: Final = 0.6  # share of the published format, `(A) red`; the others are the world's own, `A. red`
_LETTERS: Final = "ABCDEFGH"


class LetteredWords(Words):
    """Words that give some questions options, and note which."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(tokenizer)
        self.share = 0.0  # of the questions that can have options
        self.noted: list[bool] = []

    def read(self, question: WorldQuestion, span: int, rng: Random, noisy: float, reword: float = 0.0) -> Text:
        """As Words, or with options."""
        able = bool(question.wrong) and question.kind not in _OPEN
        chosen = able and rng.random() < self.share
        self.noted.append(chosen)
        if not chosen:
            return super().read(question, span, rng, noisy, reword)
        if reword:
            question = question.model_copy(update={"text": reworded(question.text, rng, reword)})
        options = rng.randint(2, 5)
        if rng.random() < _PUBLISHED:
            offered = rng.sample(question.wrong, min(options - 1, len(question.wrong)))
            offered.insert(rng.randint(0, len(offered)), question.answer)
            letter = _LETTERS[offered.index(question.answer)]
            choice = Choice(question.kind, question.text, tuple(offered), letter)
            own = question.model_copy(update={"text": lettered(choice.text, choice.options), "answer": letter})
        else:
            own = multiple_choice(question, options=options, seed=rng.getrandbits(32))
        return super().read(own.model_copy(update={"multiple_choice": True}), span, rng, 0.0)


def make_mixed_batch(
    plan: LessonPlan,
    shelf: Shelf,
    words: LetteredWords,
    forgetting: ForgettingConfig,
    *,
    share: float,
    seed: int,
    number: int,
) -> StoryBatch:
    """A batch of stories, of whose questions a share has options. Depends only on its arguments."""
    words.share, words.noted = share, []
    batch = make_batch(plan, shelf, words, forgetting, seed=seed, number=number)
    kinds = np.where(np.array(words.noted), LESSON_KINDS.index("lettered"), batch.kinds)
    return replace(batch, kinds=kinds)
