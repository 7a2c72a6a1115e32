"""What the evidence loss asks attention of, and to where.

Of all of a question to the frames of the proof: so evidence is read. Or, what a beginner needs, of the words that name things to the
cells where these are.

Legend: N recalled frames, P cells of a frame.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from model.vision import GRID
from training.world.script import Script


def tokens_to_rest(after: Sequence[int], question: tuple[int, int], naming: Collection[int]) -> list[bool]:
    """Which tokens of the text after the video: those of the question that are among `naming`; all of it where none is."""
    asked = [question[0] <= place < question[1] for place in range(len(after))]
    names = [inside and token in naming for inside, token in zip(asked, after, strict=True)]
    return names if any(names) else asked


def cells_to_rest_on(script: Script, kept: NDArray[np.int64], *, things: bool) -> NDArray[np.bool_]:
    """[N, P + 1]: anywhere in a frame and its newline, or on the thing that the frame shows."""
    if not things:
        return np.ones((len(kept), GRID * GRID + 1), bool)
    cells = np.zeros((len(kept), GRID * GRID + 1), bool)
    centres = (np.arange(GRID) + 0.5) / GRID
    for place, number in enumerate(kept.tolist()):
        for event in script.visible_at(float(number)):
            left, top, right, bottom = event.box_at(float(number))
            down, across = (centres > top) & (centres < bottom), (centres > left) & (centres < right)
            cells[place, :-1] |= np.outer(down, across).ravel()
    return cells
