"""What an answer says where the model points into its evidence: a time, or a length."""

import numpy as np
from numpy.typing import NDArray

from afterview.model.language.moments import (
    BETWEEN,
    LASTING,
    MOMENT,
    ONE_OF_TWO,
    POINTERS,
    attended,
    clock,
    length,
    onsets,
)
from afterview.stream.ask.context import Context


def pointed(context: Context, weights: NDArray[np.floating] | None, times_since_start: bool) -> dict[str, str]:
    """The text of each pointer, and of BETWEEN without names; without evidence all are empty. weights [R]: each recalled frame's share.

    times_since_start: a time counts from the first frame of the span; otherwise it is shown in the camera's zone.
    """
    if weights is None:
        return dict.fromkeys((*POINTERS, BETWEEN), "")
    snapshot, frames = context.snapshot, context.recall.frames

    def time_of(row: int) -> float:
        return snapshot.time_of(int(context.ids[frames[row]]))

    first, last = attended(weights, frames)
    one, other = onsets(weights, frames)
    since = time_of(first)
    origin = snapshot.time_of(int(context.ids[0]))
    return {
        MOMENT: clock(since - origin) if times_since_start else snapshot.info.show(since),
        LASTING: length(time_of(last) - since + 1 / snapshot.info.fps),  # the last frame stands for its period
        BETWEEN: ONE_OF_TWO if other is None else length(abs(time_of(one) - time_of(other))),
    }
