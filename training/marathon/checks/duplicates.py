"""Near duplicates among the questions of a video, by embeddings of their words. Pure numpy: no model, the same everywhere."""

import itertools
from collections.abc import Sequence
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from afterview.training.marathon.checks.agreement import words_of

_WIDTH: Final = 1024
_LETTERS: Final = 3  # of the pieces of words, so that other endings are near


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors [n, 1024]: words, pairs of words and pieces of words, hashed; words that differ count most."""
    made = np.zeros((len(texts), _WIDTH), np.float32)
    for row, text in enumerate(texts):
        words = words_of(text)
        pairs = [f"{one} {other}" for one, other in itertools.pairwise(words)]
        pieces = [f"#{word[at : at + _LETTERS]}" for word in words for at in range(max(1, len(word) - _LETTERS + 1))]
        for features, weight in ((words, 1.0), (pairs, 1.0), (pieces, 0.3)):
            for feature in features:
                place = crc32(feature.encode())
                made[row, place % _WIDTH] += weight if place & 0x10000 else -weight
    norms = np.linalg.norm(made, axis=1, keepdims=True)
    return np.divide(made, norms, out=made, where=norms > 0)


def duplicates(texts: Sequence[str], answers: Sequence[str], least: float) -> list[bool]:
    """Which questions repeat an earlier one: as near as `least` (cosine), or with the same words and answer in another order."""
    if not texts:
        return []
    vectors = embed(texts)
    likeness = vectors @ vectors.T
    keys = [
        (tuple(sorted(words_of(text))), tuple(words_of(answer))) for text, answer in zip(texts, answers, strict=True)
    ]
    found = [False] * len(texts)
    for row in range(len(texts)):
        earlier = [other for other in range(row) if not found[other]]
        found[row] = any(likeness[row, other] >= least or keys[row] == keys[other] for other in earlier)
    return found
