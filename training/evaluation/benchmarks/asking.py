"""How a benchmark asks: the same answerer as `afterview ask`, greedily, about one video's memory. Weighs letters, too.

The preset's scope is set aside: a benchmark measures what a model answers, not which questions it declines.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from afterview.memory.directory import Memory
from afterview.model.language.moments import option_id
from afterview.model.language.prompt import require_tokenizer
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.options import LETTERS, options_in
from afterview.stream.ask.question import Question
from afterview.stream.ask.subtitles import Subtitle
from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.benchmarks.features import CAMERA, START

if TYPE_CHECKING:  # a model is handed in: importing this module must not load torch
    from afterview.model.checkpoint.models import AfterviewModel
    from afterview.model.video_language import VideoInputs
    from afterview.stream.ask.context import Context

LONGEST: Final = 100_000  # characters of a prompt without subtitles
ALL_EVIDENCE: Final = 100_000  # frames


@dataclass(frozen=True)
class Asked:
    """One prompt. recall: what frames are recalled by. start_s, end_s: seconds from the video's beginning; what is later is not seen.

    evidence: frames named at most. max_new_tokens: None as the model says. options: of the item, by name: handed on, because the prompt's
    lines do not always say where one ends.
    """

    prompt: str
    recall: str
    start_s: float | None = None
    end_s: float | None = None
    subtitles: tuple[Subtitle, ...] = ()
    by_time: bool = False  # subtitles stand at their times
    evidence: int = 0
    max_new_tokens: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def lettered(self) -> Mapping[str, str]:
        """The options that have letters; where none were handed on, those that the prompt lists."""
        return {name: text for name, text in self.options.items() if name in set(LETTERS)} or options_in(self.prompt)

    def question(self) -> Question:
        """As the answerer takes it."""
        start, end = (None if one is None else START + one for one in (self.start_s, self.end_s))
        lines = tuple(line.moved(START) for line in self.subtitles)
        return Question(
            self.prompt, (CAMERA,), start=start, at=end, evidence=self.evidence, temperature=0.0,
            max_new_tokens=self.max_new_tokens, subtitles=lines, recall_text=self.recall, subtitles_by_time=self.by_time,
            options=self.lettered,
        )  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """An answer. Times in seconds from the video's beginning. newest_s: of the newest frame that it saw. weights: evidence by time.

    cut: it ended because it was as long as allowed. subtitles_left_out: too long together, or, between clips, without a frame.
    subtitles_form: where they stood; empty: before the question. likelihoods: by choice, of a question that is weighed and not answered.
    weighed: what of a choice was, its words or its first token.
    """

    text: str
    seconds: float = 0.0
    first_token_s: float | None = None
    frames: int = 0
    recalled: int = 0
    newest_s: float = 0.0
    cut: bool = False
    subtitles_left_out: int = 0
    subtitles_form: str = ""
    weights: Sequence[tuple[float, float]] = ()
    likelihoods: Mapping[str, float] = field(default_factory=dict)
    weighed: str = ""

    @property
    def likeliest(self) -> list[str]:
        """The choices with the largest likelihood: several tie."""
        best = max(self.likelihoods.values(), default=0.0)
        return [choice for choice, value in self.likelihoods.items() if value == best]


class Asker(Protocol):
    """Asks about one video's memory."""

    def ask(self, asked: Asked) -> Reply:
        """Answer. Raises what Answerer.ask raises."""
        ...

    def weigh(self, asked: Asked, choices: Sequence[str]) -> Reply:
        """Log-likelihood of each choice's first token as the first token of the answer, or of a whole choice where the model says more than
        one token; without a text. Raises BenchmarkError if two begin alike, or if the model gives no number.
        """
        ...


class MemoryAsker:
    """Asks a model. memory: of one video."""

    def __init__(self, memory: Path, model: "AfterviewModel") -> None:
        self._model = replace(model, preset=model.preset.model_copy(update={"scope": None}))
        self._answerer = Answerer(Memory(memory), self._model, times_since_start=True, longest=LONGEST)

    def ask(self, asked: Asked) -> Reply:
        """See Asker."""
        answer = self._answerer.ask(asked.question())
        (part,) = answer.parts
        subtitles: Any = part.provenance.get("subtitles", {})
        return Reply(
            answer.text, answer.total_s, part.timing.get("first_token_s"), part.coverage.frames, part.coverage.recalled,
            part.coverage.last_time - START, part.tokens is not None and part.tokens.cut, *_left_out(subtitles),
            tuple((item.time - START, item.weight) for item in part.evidence),
        )  # fmt: skip

    def weigh(self, asked: Asked, choices: Sequence[str]) -> Reply:
        """See Asker. A word counts with its first letter small or large, whichever is likelier. Of a model that points to options their
        words are weighed.
        """
        context, options = self._context(asked), asked.lettered
        inputs = self._inputs(context)
        pointing = option_id(require_tokenizer(self._model.tokenizer)) is not None and set(choices) <= options.keys()
        found = self._by_words(inputs, choices, options) if pointing else self._by_first_token(inputs, choices)
        if not all(map(math.isfinite, found.values())):
            raise BenchmarkError("a likelihood is NaN or infinite; the weights may be damaged")
        counts = {} if context.subtitles is None else context.subtitles.to_dict()
        left_out, form = _left_out(counts)
        return Reply(
            "", frames=len(context.ids), recalled=len(context.recall.frames), subtitles_left_out=left_out,
            subtitles_form=form, newest_s=context.snapshot.time_of(int(context.ids[-1])) - START, likelihoods=found,
            weighed="words" if pointing else "first token",
        )  # fmt: skip

    def inputs(self, asked: Asked) -> "VideoInputs":
        """What the language model is given."""
        return self._inputs(self._context(asked))

    def _context(self, asked: Asked) -> "Context":
        return self._answerer.plan(CAMERA, asked.question(), START)

    def _inputs(self, context: "Context") -> "VideoInputs":
        return self._model.video_inputs([(context.features, context.layout, context.prompt)])[0]

    def _by_words(self, inputs: "VideoInputs", choices: Sequence[str], options: Mapping[str, str]) -> dict[str, float]:
        from afterview.training.evaluation.likelihood import log_likelihood, tokens_said  # late: it loads torch

        said = {choice: tokens_said(self._model, choice, options) for choice in choices}
        return {choice: log_likelihood(self._model, inputs, ids)[0] for choice, ids in said.items()}

    def _by_first_token(self, inputs: "VideoInputs", choices: Sequence[str]) -> dict[str, float]:
        logs = self._model.video_language.first_token_logits(inputs).double().log_softmax(dim=-1)
        tokens = {choice: {self._first_token(form) for form in (choice, choice.capitalize())} for choice in choices}
        if len(set().union(*tokens.values())) < sum(map(len, tokens.values())):
            raise BenchmarkError(f"{', '.join(choices)} begin with the same token of this model; use --score letter")
        return {choice: max(float(logs[token]) for token in own) for choice, own in tokens.items()}

    def _first_token(self, text: str) -> int:
        ids: list[int] = require_tokenizer(self._model.tokenizer).encode(text, add_special_tokens=False)
        return ids[0]


def _left_out(counts: Mapping[str, Any]) -> tuple[int, str]:
    """How many subtitles were left out, and where the others stood: Reply's, from what a question's subtitles count."""
    return counts.get("over_limit", 0) + counts.get("no_frame", 0), counts.get("form", "")
