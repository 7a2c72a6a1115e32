"""The curriculum: what is asked about which stories, and when the next lesson starts. Pure.

A small model learns slowly if it sees long stories from the start: it must first find one thing among few frames. So
lessons start with few frames and grow, as the paper's first stage starts with images.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import Field, model_validator

from afterview.configs import Schema
from afterview.training.world.facts import KINDS
from afterview.training.world.script import WorldConfig

_MEMORY = 0.98  # share of the running mean that one logged batch keeps


class KeepWeights(Schema):
    """How much staying near a teacher counts (training.tiny.keeping), per nat.

    A nat of the answers is far more than one of the evidence: it changes what is said.
    """

    answers: float = Field(default=0.0, ge=0)
    evidence: float = Field(default=0.0, ge=0)
    besides: tuple[str, ...] = ()  # kinds of question that the teacher does not know, or answers in another form

    @property
    def any(self) -> bool:
        """Whether a teacher is needed at all."""
        return bool(self.answers or self.evidence)


class LessonPlan(Schema):
    """One lesson. Ranges are inclusive."""

    name: str
    kinds: dict[str, float]  # kind of question -> relative frequency
    frames: int = Field(ge=12)  # frames that MemAug may attend to
    tokens_read: int | None = Field(default=None, ge=1, le=64)  # per frame, drawn anew in each step; null: all
    window: int = 4  # newest frames, always included
    stories: int = 64  # per batch
    questions: int = 8  # per story
    # Numbers of questions to draw: one number is chosen at random, and the last question drawn is asked. See stories._ask.
    asked: tuple[int, ...] = (1, 1, 2, 4)
    wobble: float = Field(default=0.3, ge=0, le=1)  # share of questions with an unknown word
    reword: float = Field(default=0.0, ge=0, le=1)  # share of expressions that are replaced by synonyms
    duration_s: tuple[float, float] = (60.0, 600.0)  # log-uniform
    world: WorldConfig = WorldConfig()
    # Kind -> required accuracy; the lesson ends when all are reached.
    gate: dict[str, float] = Field(default_factory=dict)
    least: int = 0  # steps
    most: int = Field(ge=1)  # steps after which the lesson ends in any case

    @model_validator(mode="after")
    def _known(self) -> "LessonPlan":
        unknown = [kind for kind in (*self.kinds, *self.gate) if kind not in KINDS]
        if unknown:
            raise ValueError(f"no question is of kind '{unknown[0]}'; there are: {', '.join(KINDS)}")
        if missing := self.gate.keys() - self.kinds.keys():
            raise ValueError(f"the gate names '{min(missing)}', which the lesson does not ask")
        return self


@dataclass
class Progress:
    """The state of the curriculum."""

    plans: list[LessonPlan]
    lesson: int = 0
    since: int = 0  # first step of the present lesson
    accuracy: dict[str, float] = field(default_factory=dict)  # running means in the present lesson

    @property
    def plan(self) -> LessonPlan:
        """The present lesson."""
        return self.plans[self.lesson]

    def note(self, step: int, accuracies: Mapping[str, float], steps: int = 1) -> bool:
        """Record the accuracies of the last `steps` steps, up to step `step`. Returns whether the next lesson starts."""
        keep = _MEMORY**steps
        for kind, value in accuracies.items():
            self.accuracy[kind] = (
                value if kind not in self.accuracy else keep * self.accuracy[kind] + (1 - keep) * value
            )
        taken, plan = step - self.since, self.plan
        learnt = bool(plan.gate) and all(self.accuracy.get(kind, 0.0) >= wanted for kind, wanted in plan.gate.items())
        if self.lesson + 1 < len(self.plans) and (taken >= plan.most or (learnt and taken >= plan.least)):
            self.lesson, self.since, self.accuracy = self.lesson + 1, step, {}
            return True
        return False
