"""The further looks that an answer asks for (model.language.looks): the same model is asked about each thing, or about moment after moment.

    when   about the whole span: the time of a thing is that of its evidence
    now    about the few frames up to a moment (recall.window of the preset): what is shown at it

All looks are at the snapshot that the question itself saw, and each is noted.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.errors import RepositoryError
from afterview.model.language.looks import AFTER, BEFORE, FIRST, PREVIOUS, SEPARATOR, UNSEEN, names_in
from afterview.model.language.moments import BETWEEN, MOMENT, attended, length, plain
from afterview.stream.ask.context import Context, Planner
from afterview.stream.ask.question import Question

if TYPE_CHECKING:  # a model is handed in: importing this module must not load torch
    from afterview.model.checkpoint.models import AfterviewModel

_TOGETHER: Final = 16  # moments that are looked at in one batch
_SCENE_LOOKS: Final = 64  # moments, evenly over the span, at which the scene is asked for
_NOT_READ: Final = "not read: "
_FOUND: Final = "\0"  # stands for the time in an answer to "when": no model says it


@dataclass(frozen=True)
class Look:
    """One look: what was asked, as of which time, and what the model said. found: when a thing that was looked for began."""

    question: str
    at: float
    said: str
    found: float | None = None


@dataclass(frozen=True)
class _Seen:
    """A thing that was found: the ids of its first and its last frame, and when it began."""

    first: int
    last: int
    time: float


class FurtherLooks:
    """The looks of one answer about one camera. made: those that were made, in order. weights: evidence that they found, by frame.
    corrected: how many names are not what the model would have said, or were said again. unmatched: how many do not fit the question.
    """

    def __init__(
        self, planner: Planner, model: "AfterviewModel", context: Context, now: float, *, seed: int, between: str,
        cancel: threading.Event | None = None,
    ) -> None:  # fmt: skip
        """between: the time between the two things with the most evidence, in words, for BETWEEN without names."""
        self._planner, self._model, self._context, self._now = planner, model, context, now
        self._seed, self._between, self._cancel = seed, between, cancel
        self.made: list[Look] = []
        self.weights: dict[int, float] = {}
        self.corrected = 0
        self.unmatched = 0

    def answer(self, token: str, words: str) -> str:
        """What a token and the names after it stand for, in words."""
        said = self._answer(token, words)
        if total := sum(self.weights.values()):
            self.weights = {frame: weight / total for frame, weight in self.weights.items()}
        return said

    def _answer(self, token: str, words: str) -> str:
        names = names_in(words)
        self.corrected += sum(bool(part.strip(" .\n")) for part in words.split(SEPARATOR.strip())) - len(names)
        if token == PREVIOUS:
            return self._scene_before()
        if token == BETWEEN and len(names) < 2:
            return self._between
        if not names:
            return words
        if token in (BEFORE, AFTER):
            return self._neighbour(", ".join(names), token)
        found = self._find(names)
        if missing := [name for name, seen in zip(names, found, strict=True) if seen is None]:
            return unseen(missing)
        ordered = sorted(zip(names, found, strict=True), key=lambda pair: pair[1].time if pair[1] else 0.0)
        if token == BETWEEN:
            times = [seen.time for _, seen in ordered if seen]
            return length(times[-1] - times[0])
        return SEPARATOR.join(name for name, _ in (ordered[:1] if token == FIRST else ordered))

    def names_to_dict(self) -> dict[str, int]:
        """How many names are not as the model or not as the question has them; only counts above 0."""
        counts = {"names_corrected": self.corrected, "names_unmatched": self.unmatched}
        return {key: count for key, count in counts.items() if count}

    def to_dicts(self) -> list[dict[str, Any]]:
        """The looks as JSON; `times` in a row that asked and heard the same are one. at, until: up to which time the first and the last of
        them looked. time: when a thing that was looked for began.
        """
        rows = []
        for (question, said, found), same in groupby(
            self.made, key=lambda look: (look.question, look.said, look.found)
        ):
            looked = [look.at for look in same]
            rows.append(
                {
                    "question": question,
                    "at": looked[0],
                    "until": looked[-1],
                    "times": len(looked),
                    "said": said,
                    "time": found,
                }
            )
        return rows

    def _find(self, names: Sequence[str]) -> list[_Seen | None]:
        """When each thing was shown, of several times the one with the most evidence; None for one that the model denies to have seen."""
        wording = self._model.preset.looks.when
        texts = [wording.replace("{}", name) for name in names]
        first, last = int(self._context.ids[0]), int(self._context.ids[-1])
        contexts = [self._plan(self._between_frames(text, first, last)) for text in texts]
        said, weights = self._ask(contexts, pointed={MOMENT: _FOUND})
        found: list[_Seen | None] = []
        for text, context, own, words in zip(texts, contexts, weights, said, strict=True):
            seen = self._seen(context, own) if _FOUND in words and own is not None else None
            if seen is not None and own is not None:
                self._note_evidence(context, own, 1 / len(names))
            shown = words.replace(_FOUND, "" if seen is None else context.snapshot.info.show(seen.time))
            self._note(text, context, shown, None if seen is None else seen.time)
            found.append(seen)
        return found

    def _seen(self, context: Context, weights: NDArray[np.floating]) -> _Seen:
        first, last = (int(context.ids[context.recall.frames[row]]) for row in attended(weights, context.recall.frames))
        return _Seen(first, last, context.snapshot.time_of(first))

    def _neighbour(self, name: str, token: str) -> str:
        """The thing that is shown next before or after another, at the moments that are recalled there."""
        (seen,) = self._find([name])
        if seen is None:
            return unseen([name])
        before, wording = token == BEFORE, self._model.preset.looks
        ids = self._context.ids
        beside = ids[ids < seen.first] if before else ids[ids > seen.last]
        if not len(beside):
            return wording.nothing
        recalled = [self._context]
        part = self._between_frames(wording.when.replace("{}", name), int(beside[0]), int(beside[-1]))
        try:
            recalled.append(self._plan(part))
        except RepositoryError as error:  # what the question itself recalled may still be read
            self.made.append(Look(part.text, self._context.snapshot.time_of(int(beside[-1])), f"{_NOT_READ}{error}"))
        frames = np.intersect1d(beside, np.concatenate([one.ids[one.recall.frames] for one in recalled]))
        for frame, said in self._looked(wording.now, frames[::-1] if before else frames):
            if plain(said) not in (plain(wording.nothing), plain(name)):
                most = max(self.weights.values())  # both are proof, and first comes the thing that the question names
                self.weights.pop(frame, None)
                self.weights[frame] = most
                return said
        return wording.nothing

    def _scene_before(self) -> str:
        """The scene before the last change: the newest of moments evenly over the span that has another, then by halving."""
        wording, ids = self._model.preset.looks, self._context.ids
        places = np.linspace(len(ids) - 1, 0, min(len(ids), _SCENE_LOOKS)).round().astype(np.int64)
        present, same, said = "", len(ids), wording.nothing
        for frame, scene in self._looked(wording.scene, ids[places]):
            place, present = int(np.searchsorted(ids, frame)), present or plain(scene)
            if plain(scene) != present:
                said = scene
                break
            same = place
        else:
            return said
        while same - place > 1:
            middle = (place + same) // 2
            for _, scene in self._looked(wording.scene, ids[middle : middle + 1]):
                if plain(scene) != present:
                    place, said = middle, scene
                    break
            else:
                same = middle
        self.weights = {int(ids[place]): 1.0}
        return said

    def _looked(self, wording: str, frames: NDArray[np.int64]) -> Iterator[tuple[int, str]]:
        """What the model says of the moment of each frame. The caller stops when it knows enough."""
        ids, back = self._context.ids, max(self._model.preset.recall.window, 1) - 1
        for first in range(0, len(frames), _TOGETHER):
            together = frames[first : first + _TOGETHER].tolist()
            begins = ids[np.maximum(np.searchsorted(ids, together) - back, 0)].tolist()
            planned = {}
            for begin, frame in zip(begins, together, strict=True):
                try:
                    planned[frame] = self._plan(self._between_frames(wording, begin, frame))
                except RepositoryError as error:  # this moment cannot be read; others may
                    self.made.append(Look(wording, self._context.snapshot.time_of(frame), f"{_NOT_READ}{error}"))
            said, _ = self._ask(list(planned.values()))
            for (frame, context), words in zip(planned.items(), said, strict=True):
                once = SEPARATOR.join(names_in(words))  # of a single moment a small model may say a name several times
                self._note(wording, context, once)
                yield frame, once

    def _between_frames(self, text: str, first: int, last: int) -> Question:
        """A question about the frames from `first` to `last`. How the answer itself is sampled does not count."""
        time_of = self._context.snapshot.time_of
        return Question(text, start=time_of(first), at=time_of(last), seed=self._seed)

    def _plan(self, question: Question) -> Context:
        """What the model sees for it, in the snapshot of the answer."""
        return self._planner.plan(self._context.snapshot, question, self._now, self._cancel)

    def _ask(
        self, contexts: Sequence[Context], pointed: dict[str, str] | None = None
    ) -> tuple[list[str], list[NDArray[np.float64] | None]]:
        """What the model says of each, and where its evidence is."""
        inputs = self._model.video_inputs([(one.features, one.layout, one.prompt) for one in contexts])
        texts = ["" for _ in inputs]
        for row, piece in self._model.answer_several(inputs, pointed=[pointed or {} for _ in inputs]):
            texts[row] += piece or ""
        return [text.strip() for text in texts], [one.frame_weights for one in inputs]

    def _note(self, question: str, context: Context, said: str, found: float | None = None) -> None:
        self.made.append(Look(question, context.snapshot.time_of(int(context.ids[-1])), said, found))

    def _note_evidence(self, context: Context, weights: NDArray[np.floating], share: float) -> None:
        for row, weight in zip(context.recall.frames, weights, strict=True):
            frame = int(context.ids[row])
            self.weights[frame] = self.weights.get(frame, 0.0) + share * float(weight)


def unseen(names: Sequence[str]) -> str:
    """The answer where a thing that the question names was never found."""
    *others, last = (f"the {name}" for name in names)
    return f"{UNSEEN}{', '.join(others)} or {last}" if others else f"{UNSEEN}{last}"
