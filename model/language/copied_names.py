"""The names after a look's token are copied from the question: what the decoder writes there is held to the question's own words.

A small decoder says `red cross` where the question has a red ring and a green cross, or names one thing twice and leaves out another.
Both are told without knowing what the words mean: a name stands in the question as it is, and each stretch of the question is named once.
So at each token only those remain that can still become such a name (Hokamp and Liu, 2017, "Lexically constrained decoding for sequence
generation using grid beam search", is the general form; here one token at a time is enough). A name with a word that the question does not
have, as a synonym, is free where it is what the model would say, but not said twice. This module does not load torch.

Legend: V entries of the vocabulary.
"""

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from afterview.model.language.looks import BETWEEN, FIRST, ORDER, PREVIOUS, SEPARATOR, look_ids

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

_LIKELIEST: Final = 64  # tokens that are tried at each place
_AROUND: Final = " .?!:;\"'()\n\t"  # stripped from words
_COMMA: Final = SEPARATOR.strip()


class CopiedNames:
    """Narrows the tokens after a look's token of one answer.

    corrected: how many names are not what the model would have said. unmatched: how many are as the model said them although they do not
    fit the question, since none of the likeliest tokens did.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", question: str, stop_ids: Collection[int]) -> None:
        """question: what the names are copied from. stop_ids: tokens that end the answer."""
        self._tokenizer, self._stop_ids, self._looks = tokenizer, frozenset(stop_ids), look_ids(tokenizer)
        self._names = NamesOf(question)
        self._corrected: set[int] = set()
        self._unmatched: set[int] = set()

    @property
    def corrected(self) -> int:
        """Names of the answer so far."""
        return len(self._corrected - self._unmatched)

    @property
    def unmatched(self) -> int:
        """Names of the answer so far."""
        return len(self._unmatched)

    def __call__(self, said: Sequence[int], logits_V: "Tensor") -> "Tensor":
        """Logits of the next token after `said`; those of the likeliest tokens that do not fit, and of all others, are -inf.

        Unchanged before a look's token, and where none of the likeliest tokens fits.
        """
        begun = next((place for place, token in enumerate(said) if token in self._looks), None)
        if begun is None or (look := self._looks[said[begun]]) == PREVIOUS:
            return logits_V
        names, likeliest = list(said[begun + 1 :]), logits_V.topk(min(_LIKELIEST, len(logits_V))).indices.tolist()
        own = self._fits(look, names, likeliest[0])
        fitting = [token for token in likeliest if self._fits(look, names, token, free=own)]
        if not own:
            place = self._text(names).count(_COMMA)
            (self._corrected if fitting else self._unmatched).add(place)
        if not fitting:
            return logits_V
        narrowed = logits_V.new_full(logits_V.shape, -math.inf)
        narrowed[fitting] = logits_V[fitting]
        return narrowed

    def _fits(self, look: str, names: list[int], token: int, *, free: bool = True) -> bool:
        before = self._text(names)
        if token in self._stop_ids:
            if look == BETWEEN and not before.strip():
                return True  # between the two things with the most evidence
            least = 2 if look in (FIRST, ORDER, BETWEEN) else 1
            return before.count(_COMMA) + 1 >= least and self._names.whole(before)
        text = self._text([*names, token])
        return text != before and self._names.begins(text, free=free)

    def _text(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)


class NamesOf:
    """Which lists of names a question can give."""

    def __init__(self, question: str) -> None:
        self._words = _words(question.replace(_COMMA, " "))
        self._places: dict[str, list[int]] = {}
        for place, word in enumerate(self._words):
            self._places.setdefault(word, []).append(place)

    def whole(self, text: str) -> bool:
        """Whether this list of names may end here."""
        *earlier, last = text.split(_COMMA)
        return self._listed(earlier) and self._is_name(_words(last), earlier)

    def begins(self, text: str, *, free: bool = True) -> bool:
        """Whether more words can make a list of names of this. free: whether they may be words that the question does not have."""
        *earlier, last = text.split(_COMMA)
        if not self._listed(earlier):
            return False
        words, taken = _words(last), self._taken(earlier)
        if not words:
            return len(taken) < len(self._words)
        *full, partial = words if not last[-1].isspace() else [*words, ""]
        going_on = [place for word, places in self._places.items() if word.startswith(partial) for place in places]
        if self._is_free(full) or (free and not going_on):
            return True
        many = len(full)
        return any(
            self._words[max(place - many, 0) : place] == full and taken.isdisjoint(range(place - many, place + 1))
            for place in going_on
        )

    def _listed(self, names: Sequence[str]) -> bool:
        return all(self._is_name(_words(name), names[:place]) for place, name in enumerate(names))

    def _is_name(self, words: list[str], earlier: Sequence[str]) -> bool:
        if not words:
            return False
        if self._is_free(words):
            return words not in [_words(name) for name in earlier]
        taken = self._taken(earlier)
        return any(taken.isdisjoint(stretch) for stretch in self._stretches(words))

    def _is_free(self, words: Sequence[str]) -> bool:
        return any(word not in self._places for word in words)

    def _taken(self, names: Sequence[str]) -> set[int]:
        """Places of the question's words that names have: no other may have them."""
        return {place for name in names for stretch in self._stretches(_words(name)) for place in stretch}

    def _stretches(self, words: Sequence[str]) -> list[range]:
        """Where the question has these words in a row."""
        many = len(words)
        begun = self._places.get(words[0], ()) if words else ()
        return [range(place, place + many) for place in begun if self._words[place : place + many] == words]


def _words(text: str) -> list[str]:
    return [word for part in text.lower().split() if (word := part.strip(_AROUND))]
