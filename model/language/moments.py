"""Pointers: the model points to what it means instead of writing it: a time or a length in its evidence, or one of the options.

A small decoder that writes a clock time digit by digit gets the last digits wrong even if MemAug attends to the right
frame, and it cannot subtract two times. If the tokenizer has these tokens, the decoder may answer them in place of a value:

    MOMENT   when the evidence starts, in the camera's zone (in evaluations: since the start of the span, as the truth is)
    LASTING  how long it lasts
    BETWEEN  how much time lies between the starts of the two things with the most evidence; with names after it a look (`looks`)
    OPTION   the letter of the option that the words after it name, for a question with lettered options. A small decoder that has
             said the words of an answer can copy them, but cannot both find the answer and match it to a letter in one step

Hour-LLaVA (arXiv 2506.05332) does not have this; the idea is that of pointer networks (Vinyals et al., arXiv
1506.03134). Tokenizers without a token, such as published ones, switch it off. This module does not load torch.

Legend: R recalled frames.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Pointer: TypeAlias = Literal["<|moment|>", "<|lasting|>", "<|option|>"]
MOMENT: Final = "<|moment|>"
LASTING: Final = "<|lasting|>"
BETWEEN: Final = "<|between|>"
OPTION: Final = "<|option|>"
SHORTEST: Final = "less than a second"
ONE_OF_TWO: Final = "I saw only one of the two"  # in place of the time between
POINTERS: Final[tuple[Pointer, ...]] = (MOMENT, LASTING)  # into the evidence
_LEAST_SHARE: Final = 0.005  # of the largest weight: a neighbouring frame above it belongs to the same event
_LEAST_OTHER: Final = 0.05  # of the largest weight: a second thing below it was not found (docs/training.md)


def pointer_ids(tokenizer: "PreTrainedTokenizerBase") -> dict[str, int]:
    """The ids of those pointers into the evidence that the tokenizer has."""
    vocabulary = tokenizer.get_vocab()
    return {pointer: vocabulary[pointer] for pointer in POINTERS if pointer in vocabulary}


def option_id(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """The id of OPTION, if the tokenizer has it."""
    return tokenizer.get_vocab().get(OPTION)


class OptionText:
    """Holds an answer back once it has OPTION, until its words are known, and then gives the letter of the option that they name.

    Words that name no option stay words: a letter in their place would be a guess.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        """options: letter -> text."""
        words = [plain(text) for text in options.values()]
        self._letters = {plain(text): letter for letter, text in options.items() if words.count(plain(text)) == 1}
        self._held: list[str] | None = None

    def begin(self) -> None:
        """The token has come: what follows are words of an option."""
        self._held = []

    def push(self, piece: str) -> str:
        """Add a piece of the answer's text. Returns the text that may be shown now."""
        if self._held is None:
            return piece
        self._held.append(piece)
        return ""

    def rest(self) -> str:
        """The letter, at the end of the answer; nothing if no option was named."""
        words = "".join(self._held or ())
        return self._letters.get(plain(words), words)


def plain(text: str) -> str:
    """An option's text, or an answer, without what two ways to write it may differ in: case, outer marks and spaces."""
    return " ".join(text.split()).strip(" .,:;!\"'()[]").casefold()


def attended(weights: NDArray[np.floating], frames: NDArray[np.int64]) -> tuple[int, int]:
    """Rows of the first and the last frame of the unbroken run of attended frames around the largest weight.

    weights [R]: each recalled frame's share of the evidence. frames int64 [R]: frame numbers in the span, ascending.
    """
    first = last = int(np.argmax(weights))
    least = _LEAST_SHARE * weights[first]
    while first and frames[first - 1] == frames[first] - 1 and weights[first - 1] >= least:
        first -= 1
    while last + 1 < len(frames) and frames[last + 1] == frames[last] + 1 and weights[last + 1] >= least:
        last += 1
    return first, last


def onsets(weights: NDArray[np.floating], frames: NDArray[np.int64]) -> tuple[int, int | None]:
    """Rows at which the two things with the most evidence start, the heavier one first. None: there is no second thing.

    Frames right beside the first run are not another thing. weights, frames: as `attended`.
    """
    first, last = attended(weights, frames)
    apart = (frames < frames[first] - 1) | (frames > frames[last] + 1)
    others = np.where(apart, weights, 0)
    found = others.max() >= _LEAST_OTHER * weights.max()
    return first, attended(others, frames)[0] if found else None


def clock(seconds: float) -> str:
    """Time since the start of the span, in whole seconds: `01:02:03`. Hours may exceed 24."""
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def length(seconds: float) -> str:
    """A duration in words, in whole seconds: `3 seconds`, `1 minute 12 seconds`, `2 hours`; SHORTEST for what rounds to none."""
    whole = round(seconds)
    parts = [(whole // 3600, "hour"), (whole % 3600 // 60, "minute"), (whole % 60, "second")]
    said = [f"{number} {unit}{'' if number == 1 else 's'}" for number, unit in parts if number]
    return " ".join(said) or SHORTEST
