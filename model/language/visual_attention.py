"""Attention to the visual tokens of a prompt, as evidence of models without MemAug.

Its definition: in the layer before which visual tokens are dropped by attention, the softmax weights of the prompt's last token,
mean over heads. That is exactly the score by which tokens are dropped (model.language.visual_dropout). Tokens that were dropped before
have none. Without dropout by attention it is the last layer with a drop, and without any dropout the layer after 6/7 of all layers: the
published evaluations drop after 24 of 28.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from afterview.memory.plans.clips import ClipLayout
from afterview.model.base.settings import VisualDropoutConfig

_SHARE = 6 / 7  # of the layers


@dataclass
class VisualAttention:
    """Filled while the prompt runs. mass: float32 [visual tokens of the prompt], in order; None until then."""

    mass: Tensor | None = None

    def frame_weights(self, layout: ClipLayout) -> NDArray[np.float64] | None:
        """Evidence weight of each row of features, [R], summing to 1. None before the prompt has run."""
        if self.mass is None:
            return None
        weights = layout.fold(self.mass.double().cpu().numpy())
        return weights / weights.sum()


def evidence_layer(dropout: VisualDropoutConfig | None, layers: int) -> int:
    """The layer, of so many, in which attention is evidence."""
    if dropout is None or not dropout.layers:
        return min(layers - 1, round(_SHARE * layers))
    by_attention = [layer for stage, layer in enumerate(dropout.layers) if dropout.by_attention(stage)]
    return by_attention[-1] if by_attention else dropout.layers[-1]
