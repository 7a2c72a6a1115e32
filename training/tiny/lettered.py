"""Some questions of the stories get lettered options, as benchmarks ask: the answer is the letter, or the words after OPTION.

Around question and options stand the instructions of the benchmarks that `evaluate run` knows, so that these are no surprise.
"""

from collections.abc import Sequence
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
from afterview.training.world import WorldQuestion
from afterview.training.world.needles import lettered
from afterview.training.world.rewording import reworded

_OPEN: Final = ("when", "last", "gap", "duration")  # times and lengths, which the model does not spell
_PUBLISHED: Final = 0.35  # share of the needles' published format, `(A) red`
_OWN: Final = 0.35  # share of the world's own, `A. red`, without instructions; the others are those of _BRIEF
_WORDY_EVERY: Final = 5  # one batch in so many has the long instructions: in any other they would lengthen every row
_LETTERS: Final = "ABCDEFGH"
# Before the question, form of an option, after the options.
_BRIEF: Final = (
    ("", "{letter}. {text}", "Answer with the option's letter from the given choices directly."),
    ("", "{letter}. {text}", "Please directly give the best option:"),
    ("Question: ", "{letter}. {text}", "Answer:"),
    ("", "{letter}) {text}", ""),
)
_WORDY: Final = (
    (
        "Select the best answer to the following multiple-choice question based on the video. Respond with only the letter (A, B, C, or D) "
        "of the correct option.\n",
        "{letter}. {text}",
        "The best answer is:",
    ),
    (
        "Carefully watch the video and pay attention to the cause and sequence of events. Based on your observations, select the best "
        "option that accurately addresses the question.\nQuestion: ",
        "({letter}) {text}",
        "Only give the best option.\nBest option: (",
    ),
)


class LetteredWords(Words):
    """Words that give some questions options, and note which."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, apart: bool = False) -> None:
        super().__init__(tokenizer, apart=apart)
        self.share = 0.0  # of the questions that can have options
        self.wordy = False  # whether options stand among long instructions
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
        offered = rng.sample(question.wrong, min(rng.randint(2, 5) - 1, len(question.wrong)))
        offered.insert(rng.randint(0, len(offered)), question.answer)
        letter = _LETTERS[offered.index(question.answer)]
        return self.put(
            with_options(question.text, offered, rng, wordy=self.wordy),
            self.option(letter, self.answer(question)),
            span,
            question.text,
        )


def with_options(text: str, options: Sequence[str], rng: Random, *, wordy: bool = False) -> str:
    """A question with these options, in one of the forms that benchmarks and people use."""
    manner = 1.0 if wordy else rng.random()
    if manner < _PUBLISHED:
        return lettered(text, options)
    own = manner < _PUBLISHED + _OWN
    before, form, after = ("", "{letter}. {text}", "") if own else rng.choice(_WORDY if wordy else _BRIEF)
    lines = [form.format(letter=letter, text=option) for letter, option in zip(_LETTERS, options, strict=False)]
    return "\n".join([before + text, *lines, *([after] if after else [])])


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
    words.share, words.noted, words.wordy = share, [], number % _WORDY_EVERY == 0
    batch = make_batch(plan, shelf, words, forgetting, seed=seed, number=number)
    kinds = np.where(np.array(words.noted), LESSON_KINDS.index("lettered"), batch.kinds)
    return replace(batch, kinds=kinds)
