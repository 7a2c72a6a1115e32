"""Which stored tokens VideoChat-Flash sees of a video: all tokens of the given frames, in order.

A clip of four frames is merged to 64 tokens, and a memory stores a quarter of them with each frame. In order, the rows
of a clip's frames are its tokens. There is no newline token, no forgetting and no MemAug.

Legend: R rows of features (frames), P tokens per frame, T tokens.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class AllTokens(ABC):
    """A layout in which every token is visible, in order. With MemAug (of pictures alone) every token is a key, too."""

    @abstractmethod
    def query_groups(self) -> tuple[int, ...]:
        """How many tokens stand at each place of the prompt."""

    def query_tokens(self) -> NDArray[np.int64]:
        """Indices of the visible tokens, int64 [T]."""
        return np.arange(sum(self.query_groups()))

    def query_position_ids(self) -> NDArray[np.float64]:
        """Their numbers, float64 [T]. Only MemAug reads them: the decoder counts its own positions."""
        return self.query_tokens().astype(np.float64)

    def key_tokens(self) -> NDArray[np.int64]:
        """The same tokens."""
        return self.query_tokens()

    def key_position_ids(self) -> NDArray[np.float64]:
        """The same positions."""
        return self.query_position_ids()


@dataclass(frozen=True)
class ClipLayout(AllTokens):
    """The plan of one video for a model without MemAug, in place of a `VideoLayout`."""

    rows: int  # R
    tokens_per_frame: int  # P
    sizes: tuple[int, ...] = ()  # frames of each clip; empty if that does not matter: then each row counts alone
    places: tuple[int, ...] = ()  # rows at each place of the prompt, in order; empty: all at its only one

    def query_groups(self) -> tuple[int, ...]:
        """All R * P tokens stand at one place, or at several with text between them."""
        return tuple(rows * self.tokens_per_frame for rows in self.places or (self.rows,))

    def fold(self, token_weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weights per token [R * P] -> per row [R]: each frame has an equal share of its clip's, whose tokens show all its frames."""
        sizes = np.array(self.sizes or (1,) * self.rows)
        each = token_weights.reshape(self.rows, self.tokens_per_frame).sum(1)
        clip = np.repeat(np.arange(len(sizes)), sizes)
        return np.asarray((np.bincount(clip, weights=each) / sizes)[clip])

    def heaviest(self, weights: NDArray[np.float64], most: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The rows that stand for the heaviest clips, heaviest first, one near each clip's middle, with the clips' weights."""
        sizes = np.array(self.sizes or (1,) * self.rows)
        starts = np.cumsum(sizes) - sizes
        whole = np.add.reduceat(weights, starts)
        chosen = np.argsort(-whole, kind="stable")[:most]
        return (starts + (sizes - 1) // 2)[chosen], whole[chosen]
