"""One question as of one moment, which must get the same answer whatever happened since."""

from pathlib import Path

from afterview.memory.directory import Memory
from afterview.model.checkpoint.loading import AfterviewModel
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Question

QUESTION = "What is in the picture?"
ASKED = 99  # seconds of the frames that are spared that it is about: few enough to be recalled in full


class FixedAnswer:
    """Of one memory. The first answer is the right one."""

    def __init__(self, model: AfterviewModel) -> None:
        self._model = model
        self._fixed: tuple[float, object] | None = None  # as-of time and the answer that was given first

    def changed(self, memory: Path, moment: float) -> list[str]:
        """Ask, the first time as of `moment`; a line when the answer is another than it was."""
        at = self._fixed[0] if self._fixed else moment
        answer = Answerer(Memory(memory), self._model).ask(Question(QUESTION, ("a",), at=at, max_new_tokens=12))
        evidence = [(item.frame, item.time, item.weight) for item in answer.evidence]
        given = (answer.text, evidence, answer.parts[0].coverage.frames)
        if self._fixed is None:
            self._fixed = (at, given)
        return [] if self._fixed[1] == given else [f"the answer as of {at} changed: {self._fixed[1]} -> {given}"]
