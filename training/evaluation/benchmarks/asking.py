"""How a benchmark asks: the same answerer as `afterview ask`, greedily, about one video's memory. Weighs letters, too.

The preset's scope is set aside: a benchmark measures what a model answers, not which questions it declines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from afterview.memory.directory import Memory
from afterview.model.language.moments import option_id
from afterview.model.language.prompt import require_tokenizer
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.options import options_in
from afterview.stream.ask.question import Question
from afterview.stream.ask.subtitles import Subtitle
from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.benchmarks.features import CAMERA, START

if TYPE_CHECKING:  # a model is handed in: importing this module must not load torch
    from afterview.model.checkpoint.models import AfterviewModel
    from afterview.model.video_language import VideoInputs

LONGEST: Final = 100_000  # characters of a prompt without subtitles
ALL_EVIDENCE: Final = 100_000  # frames


@dataclass(frozen=True)
class Asked:
    """One prompt. recall: what frames are recalled by. start_s, end_s: seconds from the video's beginning; what is later is not seen.

    evidence: frames named at most. max_new_tokens: None as the model says.
    """

    prompt: str
    recall: str
    start_s: float | None = None
    end_s: float | None = None
    subtitles: tuple[Subtitle, ...] = ()
    by_time: bool = False  # subtitles stand at their times
    evidence: int = 0
    max_new_tokens: int | None = None

    def question(self) -> Question:
        """As the answerer takes it."""
        start, end = (None if one is None else START + one for one in (self.start_s, self.end_s))
        lines = tuple(line.moved(START) for line in self.subtitles)
        return Question(
            self.prompt, (CAMERA,), start=start, at=end, evidence=self.evidence, temperature=0.0,
            max_new_tokens=self.max_new_tokens, subtitles=lines, recall_text=self.recall, subtitles_by_time=self.by_time,
        )  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """An answer. Times in seconds from the video's beginning. newest_s: of the newest frame that it saw. weights: evidence by time.

    cut: it ended because it was as long as allowed. subtitles_left_out: too long together, or, between clips, without a frame.
    subtitles_form: where they stood; empty: before the question.
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


class Asker(Protocol):
    """Asks about one video's memory."""

    def ask(self, asked: Asked) -> Reply:
        """Answer. Raises what Answerer.ask raises."""
        ...

    def weigh(self, asked: Asked, choices: Sequence[str]) -> Mapping[str, float]:
        """Log-likelihood of each choice's first token as the first token of the answer, or of a whole choice where the model says more than
        one token. Raises BenchmarkError if two begin alike.
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
            part.coverage.last_time - START, part.tokens is not None and part.tokens.cut,
            subtitles.get("over_limit", 0) + subtitles.get("no_frame", 0), subtitles.get("form", ""),
            tuple((item.time - START, item.weight) for item in part.evidence),
        )  # fmt: skip

    def weigh(self, asked: Asked, choices: Sequence[str]) -> Mapping[str, float]:
        """See Asker. A word counts with its first letter small or large, whichever is likelier. Of a model that points to options their
        words are weighed.
        """
        model, inputs = self._model, self.inputs(asked)
        if (
            option_id(require_tokenizer(model.tokenizer)) is not None
            and set(choices) <= options_in(asked.prompt).keys()
        ):
            from afterview.training.evaluation.likelihood import log_likelihood, tokens_said  # late: it loads torch

            said = {choice: tokens_said(model, asked.prompt, choice) for choice in choices}
            return {choice: log_likelihood(model, inputs, ids)[0] for choice, ids in said.items()}
        logs = model.video_language.first_token_logits(inputs).double().log_softmax(dim=-1)
        tokens = {choice: {self._first_token(form) for form in (choice, choice.capitalize())} for choice in choices}
        if len(set().union(*tokens.values())) < sum(map(len, tokens.values())):
            raise BenchmarkError(f"{', '.join(choices)} begin with the same token of this model; use --score letter")
        return {choice: max(float(logs[token]) for token in own) for choice, own in tokens.items()}

    def inputs(self, asked: Asked) -> "VideoInputs":
        """What the language model is given."""
        context = self._answerer.plan(CAMERA, asked.question(), START)
        return self._model.video_inputs([(context.features, context.layout, context.prompt)])[0]

    def _first_token(self, text: str) -> int:
        ids: list[int] = require_tokenizer(self._model.tokenizer).encode(text, add_special_tokens=False)
        return ids[0]
