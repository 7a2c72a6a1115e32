"""Which cameras are asked, and why: the named ones; otherwise all of a few, or those whose frames are the most similar to the question."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.counts import counted
from afterview.memory.base.errors import (
    NoLongerRemembered,
    NothingRecorded,
    RepositoryError,
    UnreachableFrames,
    in_words,
)
from afterview.memory.base.feature_spec import require_same
from afterview.memory.directory import Memory, none_left
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.stream.ask.span import find_span

if TYPE_CHECKING:
    from afterview.memory.base.feature_spec import FeatureSpec
    from afterview.memory.index.frame_index import Found
    from afterview.stream.ask.question import Question

MOST_CAMERAS = 4  # asked when the question names none: each costs reading its memory, and gives one more text to read
_MOST_REASONS = 8  # in one error


@dataclass(frozen=True)
class ChosenCamera:
    """A camera to ask: why it is asked, and the one snapshot that its part of the answer rests on."""

    why: str
    snapshot: MemorySnapshot


@dataclass(frozen=True)
class Choice:
    """Cameras to ask by id, in the order of their answers; and for each other one why it is not asked.

    searched: the index was asked, because there are more cameras than are asked.
    """

    asked: dict[str, ChosenCamera]
    skipped: dict[str, str]
    searched: bool = False


def choose_cameras(
    memory: Memory,
    question: "Question",
    embed: Callable[[str], NDArray[np.float32]],
    spec: "FeatureSpec",
    now: float,
) -> Choice:
    """Take one snapshot of each camera and choose. embed: a text's unit-norm embedding [De].

    A camera that another model recorded, or that holds nothing in the span, is not asked, unless it is named or no camera can answer:
    asking it then raises the reason. One that cannot be read is left out with the reason, unless it is named or no other can be read.
    Raises MemoryNotFound for a named camera that does not exist, and what taking a snapshot raises.
    """
    if question.cameras:
        named = dict.fromkeys(memory.camera(name).info.id for name in question.cameras)
        return Choice({name: ChosenCamera("it was named", memory.camera(name).snapshot()) for name in named}, {})
    everyone = memory.camera_ids()
    if len(everyone) == 1:
        return Choice({everyone[0]: ChosenCamera("it is the only one", memory.camera(everyone[0]).snapshot())}, {})
    taken: dict[str, MemorySnapshot] = {}
    failures: dict[str, RepositoryError] = {}
    for name in everyone:
        try:
            taken[name] = memory.camera(name).snapshot()
            require_same(taken[name].spec, spec, where=f"camera '{name}'")
            find_span(taken[name], question, now)
        except (RepositoryError, OSError) as error:
            failures[name] = in_words(error)
    if not taken:
        raise none_left(memory.path, failures)
    usable = {name: snapshot for name, snapshot in taken.items() if name not in failures}
    if not usable:
        unread = {name: str(error) for name, error in failures.items() if name not in taken}
        if any(isinstance(failures[name], NothingRecorded) for name in taken):
            raise nothing_recorded([failures[name] for name in taken], unread)
        return Choice({name: ChosenCamera("no camera was named", taken[name]) for name in taken}, unread)
    skipped = {name: str(error) for name, error in failures.items()}
    if len(usable) <= MOST_CAMERAS:
        why = "no camera was named, and all that can answer are asked"
        return Choice({name: ChosenCamera(why, snapshot) for name, snapshot in usable.items()}, skipped)
    chosen = _nearest_cameras(memory, usable, question, embed(question.sought), now)
    return Choice(chosen.asked, {**skipped, **chosen.skipped}, searched=True)


def nothing_recorded(reasons: Sequence[RepositoryError], unread: Mapping[str, str]) -> NothingRecorded:
    """The error where no camera that can be asked holds anything of the span; it names each camera with its reason."""
    kind = NoLongerRemembered if all(isinstance(reason, NoLongerRemembered) for reason in reasons) else NothingRecorded
    more = f"; and {counted(len(reasons) - _MOST_REASONS, 'more camera')}" if len(reasons) > _MOST_REASONS else ""
    left = "; left out: " + "; ".join(f"{name}: {why}" for name, why in unread.items()) if unread else ""
    return kind("; ".join(map(str, reasons[:_MOST_REASONS])) + more + left)


def _nearest_cameras(
    memory: Memory,
    snapshots: dict[str, MemorySnapshot],
    question: "Question",
    query: NDArray[np.float32],
    now: float,
) -> Choice:
    scores: dict[str, float] = {}
    failures: dict[str, RepositoryError] = {}
    exact = True
    for name, snapshot in snapshots.items():
        try:
            found = _nearest_frame(memory, name, snapshot, find_span(snapshot, question, now), query)
        except (RepositoryError, OSError) as error:  # of the index: it became unreadable since the snapshot was taken
            failures[name] = in_words(error)
            continue
        scores[name] = found.hits[0].score if found.hits else -1.0
        exact &= found.exact
    if not scores:
        raise none_left(memory.path, failures)
    ranked = sorted(scores, key=lambda name: (-scores[name], name))
    how = "" if exact else ", approximate search"
    places = {
        name: f"place {place} of {len(ranked)}, similarity {scores[name]:.2f}{how}"
        for place, name in enumerate(ranked, 1)
    }
    return Choice(
        {
            name: ChosenCamera(f"its frames are the most similar to the question ({places[name]})", snapshots[name])
            for name in ranked[:MOST_CAMERAS]
        },
        {
            name: f"its frames are less similar to the question than those of {MOST_CAMERAS} other cameras ({places[name]}); "
            "use --camera to ask it"
            for name in ranked[MOST_CAMERAS:]
        }
        | {name: str(error) for name, error in failures.items()},
    )


def _nearest_frame(
    memory: Memory, name: str, snapshot: MemorySnapshot, rows: tuple[int, int], query: NDArray[np.float32]
) -> "Found":
    """The frame of these rows of the snapshot that is nearest to the question."""
    index = memory.index(name)
    try:
        index.catch_up(snapshot)
    except UnreachableFrames:
        pass  # ranked by the frames that are indexed already
    first, end = int(snapshot.ids[rows[0]]), int(snapshot.ids[rows[1] - 1]) + 1
    return index.search(query, 1, snapshot, first=first, end=end)
