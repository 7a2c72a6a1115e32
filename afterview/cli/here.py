"""Questions of a command with a model that its own process has loaded."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from afterview import __version__
from afterview.memory.directory import Memory
from afterview.model.checkpoint.finding import finds_only
from afterview.stream.ask.answer_record import AnswerRecord
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.finding import FindingAnswerer, answerer_for
from afterview.stream.ask.question import Question
from afterview.stream.ask.saved_answers import Saved, save

if TYPE_CHECKING:
    from afterview.model.checkpoint.for_questions import AskedModel
    from afterview.stream.ask.own_model.answerer import OwnModelAnswerer


class Here:
    """Answers, and saves the answers in the memory. notice: what to know about the model."""

    def __init__(
        self, memory: Memory, answerer: "Answerer | FindingAnswerer | OwnModelAnswerer", notice: str | None
    ) -> None:
        self._memory, self._answerer, self.notice = memory, answerer, notice

    @classmethod
    def of(cls, memory: Memory, model: "AskedModel") -> "Here":
        """With a model of our own."""
        notice = finds_only(model.preset) if model.preset.finds_only else model.notice
        return cls(memory, answerer_for(memory, model), notice)

    def ask(
        self,
        question: Question,
        *,
        asked: float | None = None,
        on_text: Callable[[str], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> tuple[AnswerRecord, Saved]:
        """An answer, and where it was saved. asked: when, Unix seconds (default: now). Errors are those of Answerer.ask."""
        asked = time.time() if asked is None else asked
        answer = self._answerer.ask(question, on_text=on_text, cancel=cancel)
        memory = self._memory
        zones = {part.coverage.camera: memory.camera(part.coverage.camera).info for part in answer.parts}
        record = AnswerRecord.of(answer, question, asked=asked, memory=memory.path, cameras=zones, version=__version__)
        return record, save(record, memory.held.path)
