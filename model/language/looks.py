"""Looks: the model names things and asks for further looks into the memory, instead of working the answer out in one pass.

A small decoder can say which things a question is about. It cannot hold three of them with their times and sort these, and MemAug, which
finds what a question describes, hands it nothing of what stands beside that. If the tokenizer has these tokens, an answer may be one of
them, with the names of things after it:

    FIRST red ring, word BUS   which of them was shown first
    ORDER ...                  all of them, in the order in which they were shown
    BETWEEN ...                how much time lies between their starts. Without names: between the two things with the most evidence
    BEFORE red ring            what was shown next before it
    AFTER red ring             what was shown next after it
    PREVIOUS                   the scene before the present one

Of a thing that was shown several times, the showing with the most evidence counts.

Who answers (stream.ask.further_looks) asks the same model about each thing and each moment, in the words of `LookWordings`. Neither paper
has this; it is what "Toolformer" (Schick et al., arXiv 2302.04761) does with other tools. This module does not load torch.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from pydantic import field_validator

from afterview.configs import Schema
from afterview.model.language.moments import BETWEEN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LookToken: TypeAlias = Literal["<|first|>", "<|order|>", "<|between|>", "<|before|>", "<|after|>", "<|previous|>"]
FIRST: Final = "<|first|>"
ORDER: Final = "<|order|>"
BEFORE: Final = "<|before|>"
AFTER: Final = "<|after|>"
PREVIOUS: Final = "<|previous|>"
LOOKS: Final[tuple[LookToken, ...]] = (FIRST, ORDER, BETWEEN, BEFORE, AFTER, PREVIOUS)
SEPARATOR: Final = ", "  # of names
UNSEEN: Final = "I did not see "  # how an answer begins where a thing that was named is not found


class LookWordings(Schema):
    """In which words a model is asked at each look: a part of its preset, because a small model knows only the words that it was taught."""

    when: str = "When did the {} appear?"  # {}: the thing. An answer without <|moment|> says that it was not seen
    now: str = "What can be seen now?"
    nothing: str = "nothing"  # how the model says that nothing is
    scene: str = "Which scene do you see now?"

    @field_validator("when")
    @classmethod
    def _names_the_thing(cls, when: str) -> str:
        if "{}" not in when:
            raise ValueError("looks.when: has no {}, where the thing's name goes")
        return when


def look_ids(tokenizer: "PreTrainedTokenizerBase") -> dict[int, str]:
    """Those of the tokens that the tokenizer has, by id."""
    vocabulary = tokenizer.get_vocab()
    return {vocabulary[token]: token for token in LOOKS if token in vocabulary}


def names_in(words: str) -> list[str]:
    """The names after a token, each once."""
    return list(dict.fromkeys(name for part in words.split(SEPARATOR.strip()) if (name := part.strip(" .\n"))))


class LookText:
    """Holds an answer back once it has one of the tokens, until its words are known, and then says what the look found."""

    def __init__(self, look: Callable[[str, str], str] | None = None) -> None:
        """look: what a token and the words after it stand for; without it the words stay words."""
        self._look = look
        self._token = ""
        self._held: list[str] = []

    def begin(self, token: str) -> None:
        """A token has come. Only the first of an answer counts."""
        self._token = self._token or token

    def push(self, piece: str) -> str:
        """Add a piece of the answer's text. Returns the text that may be shown now."""
        if not self._token:
            return piece
        self._held.append(piece)
        return ""

    def rest(self) -> str:
        """What was held back, or what it stands for, at the end of the answer."""
        words = "".join(self._held)
        return self._look(self._token, words) if self._token and self._look is not None else words
