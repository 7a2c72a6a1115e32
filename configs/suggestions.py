"""What was probably meant by a word that does not exist."""

import difflib
from collections.abc import Iterable

_MOST, _ALIKE = 3, 0.65  # suggestions, and the similarity from which a word is one
_AS_GOOD = 0.15  # how much less similar than the best one a further suggestion may be


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """`; did you mean 'x' or 'y'?` with the known words that begin with `text`, else the most similar ones; empty if there are none."""
    words = {word.strip("-").lower(): word for word in sorted(known)}
    plain = text.strip("-").lower()
    begun = [word for word in words if len(plain) > 1 and word.startswith(plain)]
    found = (begun or _alike(plain, words))[:_MOST]
    return f"; did you mean {' or '.join(repr(words[word]) for word in found)}?" if found else ""


def _alike(text: str, words: Iterable[str]) -> list[str]:
    """The most similar words first; none that is clearly less similar than the first."""
    likeness = {word: difflib.SequenceMatcher(None, word, text).ratio() for word in words}
    least = max(_ALIKE, max(likeness.values(), default=0.0) - _AS_GOOD)
    found = [word for word in likeness if likeness[word] >= least]
    return sorted(found, key=lambda word: likeness[word], reverse=True)
