"""Asks a model about one haystack: what recall chooses of it, the positions, and the answer. As a memory does (stream.ask.context), but
about rows of a table.

Legend: T frames of the haystack, B rows of the table, R recalled frames.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from afterview.memory.plans.clip_marks import Clips
from afterview.memory.plans.clip_sampling import plan_clips
from afterview.memory.plans.clips import ClipLayout
from afterview.memory.plans.positions import VideoLayout, plan_layout
from afterview.memory.plans.recall import EVERYTHING, plan_recall
from afterview.memory.plans.visibility import plan_repetition, plan_visible
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.prompt import require_tokenizer
from afterview.model.video_language import VideoInputs
from afterview.training.evaluation.choices import chosen
from afterview.training.evaluation.likelihood import log_likelihood
from afterview.training.evaluation.needle.haystack import Table
from afterview.training.evaluation.needle.plan import Asked, Scoring, Way
from afterview.training.evaluation.worlds import with_recall

LONGEST_ANSWER: Final = 16  # tokens


@dataclass(frozen=True)
class Said:
    """An answer. letter: the option that it chooses; official: its first letter, as the published harness reads it. recalled: share
    of the item's pictures that were among the frames that the model could attend to."""

    text: str
    letter: str
    official: str
    recalled: float


class NeedleAsker:
    """One model, run one way, and one table."""

    def __init__(self, model: AfterviewModel, way: Way, table: Table, scoring: Scoring) -> None:
        limited = with_recall(model, way.recall)
        update: dict[str, object] = {"positions": way.positions}
        if way.recall == "full":  # a VideoChat-Flash then sees every clip, as in the paper
            update["clip_sampling"] = limited.preset.clip_sampling.model_copy(update={"max_frames": EVERYTHING})
        preset = limited.preset.model_copy(update=update)
        self._model, self._table, self._scoring = replace(limited, preset=preset), table, scoring
        self._means: NDArray[np.float64] | None = None
        self._vectors: NDArray[np.float64] | None = None

    def ask(self, rows: NDArray[np.int64], asked: Asked) -> Said:
        """Ask about the haystack of these rows [T]."""
        text = asked.text if self._scoring == "letter" else asked.stem
        inputs, frames = self._inputs(rows, text, asked)
        seen = np.isin(np.flatnonzero(rows >= self._table.background), frames)
        recalled = float(seen.mean()) if len(seen) else 1.0
        if self._scoring == "options":
            letter = self._likeliest(inputs, asked.options)
            return Said(asked.options[letter], letter, letter, recalled)
        said = self._model.whole_answer(inputs, asked.options, max_new_tokens=LONGEST_ANSWER).strip()
        return Said(said, chosen(said, asked.options) or "", said[:1], recalled)

    def _inputs(self, rows: NDArray[np.int64], text: str, asked: Asked) -> tuple[VideoInputs, NDArray[np.int64]]:
        """The model's input, and the numbers of the frames that it can attend to."""
        model = self._model
        plan = self._clips if model.preset.sees_clips else self._frames
        layout, frames = plan(rows, text, asked.recall)
        told = len(frames) if isinstance(layout, ClipLayout) else len(rows)
        prompt = model.prompt(text, frames=told, seconds=float(len(rows)), asked=asked.stem)
        (inputs,) = model.video_inputs([(self._table.tokens[rows[frames]], layout, prompt)])
        return inputs, frames

    def _frames(self, rows: NDArray[np.int64], text: str, recall: str) -> tuple[VideoLayout, NDArray[np.int64]]:
        preset, count = self._model.preset, len(rows)
        forgetting = preset.forgetting
        vectors, question = self._frame_vectors(rows), None
        if forgetting.temporal == "question-guided":
            question = self._model.video_language.question_vector(self._model.prompt(text, frames=count, seconds=0.0))
        visible = plan_visible(count, forgetting, frame_vectors=vectors, question_vector=question)
        shown = plan_repetition(count, shortest=forgetting.shortest)
        bounded = count > preset.recall.budget
        nearest = self._nearest(rows, recall, preset.recall.nearest) if bounded else np.empty(0, np.int64)
        frames = plan_recall(count, shown[visible], nearest, preset.recall).frames
        layout = plan_layout(
            count, frames, visible, config=forgetting, policy=preset.positions, trained_frames=preset.trained_frames,
            grid=round(self._table.tokens.shape[1] ** 0.5),
        )  # fmt: skip
        return layout, frames

    def _clips(self, rows: NDArray[np.int64], text: str, recall: str) -> tuple[ClipLayout, NDArray[np.int64]]:
        preset, unit = self._model.preset, self._table.unit
        starts = np.arange(0, len(rows), unit)
        clips = Clips(starts, np.minimum(unit, len(rows) - starts))

        def nearest() -> NDArray[np.int64]:
            numbers = self._nearest(rows, recall, preset.recall.nearest) // unit
            return numbers[np.sort(np.unique(numbers, return_index=True)[1])]

        plan = plan_clips(clips, float(len(rows)), preset.clip_sampling, preset.recall, nearest, frames_per_clip=unit)
        frames = plan.recall.frames
        return ClipLayout(len(frames), self._table.tokens.shape[1], tuple(clips.sizes[plan.clips].tolist())), frames

    def _nearest(self, rows: NDArray[np.int64], text: str, most: int) -> NDArray[np.int64]:
        """Numbers of the frames nearest to a text, best first, by exact search."""
        (vector,) = self._model.encoders.index.encode_texts([text])
        return np.argsort(-(self._table.vectors @ vector)[rows], kind="stable")[:most]

    def _frame_vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """What forgetting compares frames by, if it looks at them: computed once for every row of the table."""
        temporal = self._model.preset.forgetting.temporal
        if temporal == "keyframe":
            if self._means is None:
                self._means = self._table.tokens.mean(1, dtype=np.float64)
            return self._means[rows]
        if temporal == "question-guided":
            if self._vectors is None:
                self._vectors = self._model.video_language.frame_vectors(self._table.tokens)
            return self._vectors[rows]
        return None

    def _likeliest(self, inputs: VideoInputs, options: dict[str, str]) -> str:
        """The letter of the option whose text is the likeliest answer, by the sum of its tokens' log likelihoods."""
        tokenizer, scores = require_tokenizer(self._model.tokenizer), dict[str, float]()
        for letter, option in options.items():
            ids = [*tokenizer.encode(option, add_special_tokens=False), tokenizer.eos_token_id]
            scores[letter], _ = log_likelihood(self._model, inputs, ids)
        return max(scores, key=lambda letter: scores[letter])
