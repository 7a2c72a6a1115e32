"""Questions and answers of the study as token ids."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from afterview.model.language.looks import AFTER, BEFORE, FIRST, ORDER, PREVIOUS, SEPARATOR, look_ids
from afterview.model.language.moments import BETWEEN, LASTING, MOMENT, OPTION, option_id, pointer_ids
from afterview.model.language.prompt import HOUR_LLAVA_TIME, SYSTEM
from afterview.training.tiny.word_noise import add_word_noise
from afterview.training.world import WorldQuestion
from afterview.training.world.needles import Choice
from afterview.training.world.rewording import reworded

_POINTED: Final = {
    "when": MOMENT,
    "last": MOMENT,
    "duration": LASTING,
    "gap": BETWEEN,
}  # kinds that a token alone answers
# Kinds that a token with the names of things answers: who answers looks each of them up (model.language.looks).
_LOOKED: Final = {
    "first": FIRST, "order": ORDER, "gap": BETWEEN, "before": BEFORE, "after": AFTER, "scene before": PREVIOUS,
}  # fmt: skip


@dataclass(frozen=True)
class Text:
    """Token ids of one question in its prompt, and of its answer.

    question: the range of what says what to find. words: the range of all that the user wrote, with options and instructions.
    """

    after: list[int]
    question: tuple[int, int]
    words: tuple[int, int]
    answer: list[int]


class Words:
    """Turns questions and answers into token ids like model.language.prompt, but without its cost per call.

    tail: what follows a question. end: what ends an answer. full_stop: what ends a sentence, one token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, apart: bool = False) -> None:
        """apart: what stands beside the question, such as options, does not join MemAug's queries (`memory_queries: question`)."""
        self._core, self._apart = tokenizer.backend_tokenizer, apart
        self._tokens = {*pointer_ids(tokenizer), *look_ids(tokenizer).values()}
        self._option = OPTION if option_id(tokenizer) is not None else ""
        self.tail = self.ids("<|im_end|>\n<|im_start|>assistant\n")
        self.end = self.ids("<|im_end|>")
        (self.full_stop,) = self.ids(".")

    @property
    def head(self) -> list[int]:
        """The prompt before the video."""
        return self.ids(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n")

    def read(self, question: WorldQuestion, span: int, rng: Random, noisy: float, reword: float = 0.0) -> Text:
        """A question about a span of `span` frames at 1 FPS.

        noisy: share of questions with an unknown word. reword: share of expressions replaced by synonyms.
        """
        text = reworded(question.text, rng, reword) if reword else question.text
        text = add_word_noise(text, rng) if rng.random() < noisy else text
        return self.put(text, self.answer(question), span)

    def answer(self, question: WorldQuestion) -> str:
        """The answer to train on, with the tokens that the model has."""
        return answer_of(question, self._tokens)

    def choose(self, choice: Choice, span: int, *, in_words: bool = False) -> Text:
        """A question with lettered options about a span of `span` frames at 1 FPS. in_words: without options."""
        if in_words:
            return self.put(choice.text, choice.answer, span)
        return self.put(choice.asked, self.option(choice.letter, choice.answer), span, choice.text)

    def option(self, letter: str, text: str) -> str:
        """How an option is answered: by its words after OPTION, or, without that token, by its letter."""
        return f"{self._option}{text}" if self._option else letter

    def put(self, text: str, answer: str, span: int, asked: str = "") -> Text:
        """A question about a span of `span` frames at 1 FPS, in these words, and its answer. asked: the part that says what to find."""
        sentence = HOUR_LLAVA_TIME.form.format(seconds=float(span), frames=span)
        lead, read = self.ids(f"\n{sentence}\n"), self._core.encode(text, add_special_tokens=False)
        words = question = (len(lead), len(lead) + len(read.ids))
        if asked and self._apart:
            start = text.rindex(asked)
            cuts = (start, start + len(asked))
            first, end = (len(lead) + sum(begins < cut for begins, _ in read.offsets) for cut in cuts)
            question = (first, end)
        return Text(lead + read.ids + self.tail, question, words, self.ids(answer) + self.end)

    def ids(self, text: str) -> list[int]:
        """Token ids of a text."""
        return self._core.encode(text, add_special_tokens=False).ids


def answer_of(question: WorldQuestion, tokens: Collection[str]) -> str:
    """The answer to train on. Times and lengths are answered by the pointers that there are (model.language.moments), and what looks find
    by the tokens that ask for them (model.language.looks): of a model that has ORDER, for every such kind.
    """
    if ORDER in tokens and question.kind in _LOOKED and not question.multiple_choice:
        return _LOOKED[question.kind] + SEPARATOR.join(question.about)
    pointer = _POINTED.get(question.kind, "")
    if pointer in tokens and question.value is not None and not question.multiple_choice:
        return pointer
    return question.answer


def padded(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Rows of different lengths, padded with 0 on the right."""
    table = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    return table
