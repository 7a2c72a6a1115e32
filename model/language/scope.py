"""What a small model can be asked about. A question with other words is declined instead of answered at random.

A model that was trained on one small world knows no other words, but its decoder answers anything. Its preset can
therefore list the words of that world. The rule reads the question alone. Capital letters and one typing mistake are
forgiven, because a mistake does not change what a question is about.
"""

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Final

from pydantic import Field

from afterview.configs import Schema

_WORD: Final = re.compile(r"[^\W\d_]+")
# What an apostrophe adds to a word: "what's" is "what", "didn't" is "did", "can't" is "can".
_CONTRACTED: Final = re.compile(r"((?<!ca)n)?['’](t|s|d|m|ll|re|ve)\b")
# Place of each key of a keyboard; each row lies half a key further right than the one above.
_KEYS: Final = {
    letter: (row, column + row / 2)
    for row, letters in enumerate(("qwertyuiop", "asdfghjkl", "zxcvbnm"))
    for column, letter in enumerate(letters)
}
_SHORT: Final = 4  # letters: a shorter word resembles too many others, as "cat" does "at"
_LONG: Final = 6  # letters: a longer word resembles few others


class Scope(Schema):
    """The questions that a model knows. It declines all others.

    summary: completes the sentence "This model knows only ...". examples: questions that it can answer. things: words for what
    can be asked about. about: further words that say what a question is about, such as "red" and "now". A question without a word of
    `things` or `about`, such as "What happened?", is about nothing in particular; if `about` is empty, such questions are accepted.
    words: all other words of its questions, including those without a meaning of their own. All three are separated by spaces.
    phrases: two words each. The second is known only after the first, because alone it means something else: "the word BUS" is a
    sign, "a bus" is a vehicle.
    """

    summary: str
    examples: tuple[str, ...] = Field(min_length=1)
    things: str
    words: str
    about: str = ""
    phrases: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What a declined question is answered: one sentence."""
        examples = " or ".join(f'"{example}"' for example in self.examples)
        return f"This model knows only {self.summary}, so it cannot answer this; ask, for example: {examples}"

    def declines(self, question: str, names: Iterable[str] = ()) -> bool:
        """Whether the question has words that the model does not know, or none that says what it is about. names: of cameras, known in
        any question."""
        named = {word for name in names for word in words_of(name)}
        words = words_of(question)
        pairs = zip(["", *words], words, strict=False)
        unknown = [word for before, word in pairs if not self._knows(before, word) and word not in named]
        if len(unknown) > 1 or not words or any(not self._meant(word, words) for word in unknown):
            return True
        return bool(self.about) and not any(self._is_subject(word) for word in words)

    def _is_subject(self, word: str) -> bool:
        """Whether a word, misspelt or not, says what a question is about."""
        if not self._subjects.isdisjoint((word, _singular(word))):
            return True
        return word not in self._known and any(_is_misspelt(word, subject) for subject in self._subjects)

    def _knows(self, before: str, word: str) -> bool:
        pair = f"{before} {word}"
        return (
            len(word) == 1
            or not self._known.isdisjoint((word, _singular(word)))
            or any(pair == phrase or _is_misspelt(pair, phrase) for phrase in self._phrases)
        )

    def _meant(self, word: str, words: list[str]) -> bool:
        """Whether a word is a misspelt known one. If no thing is named, the word may be the thing: then only a thing's name counts, or a
        word so long that it is no other word by chance."""
        certain = any(_singular(own) in self._things or own in self._things for own in words)
        return any(
            _is_misspelt(word, known)
            for known in self._known
            if certain or known in self._things or len(known) >= _LONG
        )

    @cached_property
    def _things(self) -> frozenset[str]:
        return frozenset(words_of(self.things))

    @cached_property
    def _known(self) -> frozenset[str]:
        return self._subjects.union(words_of(self.words))

    @cached_property
    def _subjects(self) -> frozenset[str]:
        return self._things.union(words_of(self.about))

    @cached_property
    def _phrases(self) -> frozenset[str]:
        return frozenset(" ".join(words_of(phrase)) for phrase in self.phrases)


def words_of(text: str) -> list[str]:
    """`What's the 2nd word?` -> what, the, nd, word: in lower case, without digits and contractions."""
    return _WORD.findall(_CONTRACTED.sub("", text.lower()))


def _singular(word: str) -> str:
    return word.removesuffix("s")


def _is_misspelt(typed: str, word: str) -> bool:
    """Whether `typed` is `word` with one mistake: two letters swapped, one twice, one missing, or one of the neighbouring key."""
    longer, shorter = (typed, word) if len(typed) > len(word) else (word, typed)
    if len(longer) == len(shorter):
        differing = [place for place, letter in enumerate(word) if typed[place] != letter]
        first, last = differing[0], differing[-1]
        if len(differing) == 1:
            return len(word) >= _SHORT and _are_neighbours(typed[first], word[first])
        return last == first + 1 and len(differing) == 2 and typed[first : last + 1] == word[last] + word[first]
    places = [place for place in range(len(longer)) if longer[:place] + longer[place + 1 :] == shorter]
    if longer is typed:
        return any(typed[place] in typed[place + 1 : place + 2] for place in places)
    # "car" is not "card": a short word is seldom cut off.
    return bool(places) and len(word) >= _SHORT and (len(word) > _SHORT or places[0] < _SHORT - 1)


def _are_neighbours(one: str, other: str) -> bool:
    if one not in _KEYS or other not in _KEYS:
        return False
    return all(abs(a - b) <= 1 for a, b in zip(_KEYS[one], _KEYS[other], strict=True))
