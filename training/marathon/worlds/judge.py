"""Whether a question is right, answerable and of its task, by the truth of the synthetic world."""

from dataclasses import dataclass
from typing import Literal

from afterview.training.marathon.checks.agreement import same_answer
from afterview.training.marathon.rows import Question
from afterview.training.marathon.worlds.claims import read_claim
from afterview.training.marathon.worlds.story import Story

_TOLERANCE_S = 2.0  # of times and durations
Why = Literal["", "unknown words", "task", "unanswerable", "answer", "options"]


@dataclass(frozen=True)
class Verdict:
    """why: what is wrong; empty: nothing."""

    why: Why

    @property
    def right(self) -> bool:
        """Whether nothing is."""
        return not self.why


def judge(question: Question, truth: Story) -> Verdict:
    """Judge a question by the truth of its video."""
    read = read_claim(question.question)
    if read is None:
        return Verdict("unknown words")
    claim, slots = read
    if claim.task != question.task:
        return Verdict("task")
    found = claim.answer(truth, slots)
    if found is None:
        return Verdict("unanswerable")
    if not same_answer(found.answer, question.answer, tolerance_s=_TOLERANCE_S):
        return Verdict("answer")
    if any(same_answer(found.answer, other) for other in question.wrong):
        return Verdict("options")
    return Verdict("")
