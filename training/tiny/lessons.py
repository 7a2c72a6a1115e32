"""The curriculum: what is asked of which stories, and when it is learnt well enough to go on. Pure.

A small model that is shown long stories from the start learns slowly: it must first find one thing among few frames. So lessons begin
with few, as the paper's first stage begins with images, and grow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import Field, model_validator

from afterview.configs import Schema
from afterview.training.world.facts import KINDS
from afterview.training.world.script import WorldConfig

_MEMORY = 0.98  # share of an accuracy's running mean that one logged batch leaves in place


class LessonPlan(Schema):
    """One lesson. Ranges are inclusive."""

    name: str
    kinds: dict[str, float]  # kind of question -> how often it is asked, relative to the others
    frames: int = Field(ge=12)  # frames that MemAug may attend to
    tokens_read: int | None = Field(default=None, ge=1, le=64)  # of each frame, drawn anew in each step; null: all
    window: int = 4  # newest frames, always among them
    stories: int = 64  # per batch
    questions: int = 8  # per story
    asked: tuple[int, ...] = (
        1,
        1,
        2,
        4,
    )  # how many questions of a kind come to mind, one of these by lot; the last of them is asked
    wobble: float = Field(default=0.3, ge=0, le=1)  # share of questions with a word that nobody knows
    reword: float = Field(default=0.0, ge=0, le=1)  # share of expressions that are swapped for others of their meaning
    duration_s: tuple[float, float] = (60.0, 600.0)  # log-uniform
    world: WorldConfig = WorldConfig()
    gate: dict[str, float] = Field(default_factory=dict)  # kind -> accuracy that ends the lesson, all of them together
    least: int = 0  # steps
    most: int = Field(ge=1)  # steps after which the lesson ends, learnt or not

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
    """Where the curriculum stands. `note` is told of every step's accuracies and says whether the next lesson has begun."""

    plans: list[LessonPlan]
    lesson: int = 0
    since: int = 0  # step at which the present lesson began
    accuracy: dict[str, float] = field(default_factory=dict)  # running means, of the present lesson

    @property
    def plan(self) -> LessonPlan:
        """The present lesson."""
        return self.plans[self.lesson]

    def note(self, step: int, accuracies: Mapping[str, float], steps: int = 1) -> bool:
        """After `step` steps in all, the last `steps` of which had these accuracies."""
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
