"""What was probably meant by a word that does not exist."""

import difflib
from collections.abc import Iterable

_MOST, _ALIKE = 3, 0.65  # suggestions, and the similarity from which a word is one


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """`; did you mean 'x' or 'y'?` with the known words that begin with `text`, else the most similar ones; empty if there are none."""
    words = {word.strip("-").lower(): word for word in sorted(known)}
    plain = text.strip("-").lower()
    begun = [word for word in words if len(plain) > 1 and word.startswith(plain)]
    found = (begun or difflib.get_close_matches(plain, words, n=_MOST, cutoff=_ALIKE))[:_MOST]
    return f"; did you mean {' or '.join(repr(words[word]) for word in found)}?" if found else ""
