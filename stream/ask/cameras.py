"""Which cameras a question is put to, and why: those it names, else all of a few, else those whose frames look most like it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.errors import RepositoryError, UnreachableFrames
from afterview.memory.base.spec import require_same
from afterview.memory.directory import Memory
from afterview.stream.ask.span import find_span

if TYPE_CHECKING:
    from afterview.memory.base.spec import FeatureSpec
    from afterview.stream.ask.question import Question

MOST_CAMERAS = 4  # asked when the question names none: each costs a look at its memory, and a text for a person to read


@dataclass(frozen=True)
class Choice:
    """Cameras to ask, in the order of their answers, and why; and why each other one is not asked."""

    asked: dict[str, str]
    skipped: dict[str, str]


def choose_cameras(
    memory: Memory,
    question: "Question",
    embed: Callable[[str], NDArray[np.float32]],
    spec: "FeatureSpec",
    now: float,
) -> Choice:
    """embed: a text's unit-norm embedding [De]. Raises MemoryNotFound for a camera that is named and not there.

    A camera that another model recorded, or that holds nothing in the span, is not asked; where it was named, asking it will say so.
    """
    if question.cameras:
        named = dict.fromkeys(memory.camera(name).info.id for name in question.cameras)
        return Choice(dict.fromkeys(named, "it was named"), {})
    everyone = memory.camera_ids()
    if len(everyone) == 1:
        return Choice(dict.fromkeys(everyone, "it is the only one"), {})
    names, skipped = [], {}
    for name in everyone:
        try:
            snapshot = memory.camera(name).snapshot()
            require_same(snapshot.spec, spec, where=f"camera '{name}'")
            find_span(snapshot, question, now)
            names.append(name)
        except RepositoryError as error:
            skipped[name] = str(error)
    if not names:  # asking them says why
        return Choice(dict.fromkeys(everyone, "no camera was named"), {})
    if len(names) <= MOST_CAMERAS:
        return Choice(dict.fromkeys(names, "no camera was named, and all that can answer are asked"), skipped)
    chosen = _nearest_cameras(memory, names, question, embed(question.text), now)
    return Choice(chosen.asked, {**skipped, **chosen.skipped})


def _nearest_cameras(
    memory: Memory, names: list[str], question: "Question", query: NDArray[np.float32], now: float
) -> Choice:
    scores: dict[str, float] = {}
    exact = True
    for name in names:
        snapshot = memory.camera(name).snapshot()
        first, end = find_span(snapshot, question, now)
        index = memory.index(name)
        try:
            index.catch_up(snapshot)
        except UnreachableFrames:
            pass  # ranked by what was indexed before
        found = index.search(query, 1, snapshot, first=int(snapshot.ids[first]), end=int(snapshot.ids[end - 1]) + 1)
        scores[name] = found.hits[0].score if found.hits else -1.0
        exact &= found.exact
    ranked = sorted(scores, key=lambda name: (-scores[name], name))
    how = "" if exact else ", by an approximate search"
    said = {
        name: f"place {place} of {len(ranked)}, similarity {scores[name]:.2f}{how}"
        for place, name in enumerate(ranked, 1)
    }
    return Choice(
        {name: f"its frames look most like the question ({said[name]})" for name in ranked[:MOST_CAMERAS]},
        {
            name: f"its frames look less like the question than those of {MOST_CAMERAS} other cameras ({said[name]}); "
            "name it with --camera to ask it"
            for name in ranked[MOST_CAMERAS:]
        },
    )
