"""Which cameras a question is put to when it names none: those whose frames look most like it, by the index."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from memory.directory import Memory
from memory.errors import NothingRecorded, RepositoryError, UnreachableFrames
from memory.spec import require_same
from stream.span import find_span

if TYPE_CHECKING:
    from memory.spec import FeatureSpec
    from stream.answer import Question

MOST_CAMERAS = 4  # asked when the question names none: each costs a full answer


def relevant_cameras(
    memory: Memory,
    names: Sequence[str],
    question: "Question",
    query: NDArray[np.float32],
    spec: "FeatureSpec",
    now: float,
) -> tuple[list[str], dict[str, str]]:
    """(cameras to ask, best first; why each other one is not). query: the question's unit-norm embedding [De].

    A camera that another model recorded, or that holds nothing in the span, cannot be asked and says so.
    """
    scores: dict[str, float] = {}
    skipped: dict[str, str] = {}
    for name in names:
        try:
            snapshot = memory.camera(name).snapshot()
            require_same(snapshot.spec, spec, where=f"camera '{name}'")
            first, end = find_span(snapshot, question, now)
        except (NothingRecorded, RepositoryError) as error:
            skipped[name] = str(error)
            continue
        index = memory.index(name)
        try:
            index.catch_up(snapshot)
        except UnreachableFrames:
            pass  # ranked by what was indexed before
        found = index.search(query, 1, snapshot, first=int(snapshot.ids[first]), end=int(snapshot.ids[end - 1]) + 1)
        scores[name] = found.hits[0].score if found.hits else -1.0
    ranked = sorted(scores, key=lambda name: (-scores[name], name))
    for place, name in enumerate(ranked[MOST_CAMERAS:], MOST_CAMERAS + 1):
        skipped[name] = (
            f"its frames look less like the question than those of {MOST_CAMERAS} other cameras (place {place} of {len(ranked)}, "
            f"similarity {scores[name]:.2f}); name it with --camera to ask it"
        )
    return ranked[:MOST_CAMERAS], skipped
