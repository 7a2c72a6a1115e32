"""One synthetic world: its story, its pictures, and questions about it."""

import numpy as np
from numpy.typing import NDArray

from afterview.training.world.config import WorldConfig
from afterview.training.world.questions import QuestionPlan, WorldQuestion, questions_at
from afterview.training.world.render import Renderer
from afterview.training.world.script import make_script
from afterview.training.world.story import Script


class World:
    """The world of a seed. Deterministic; its memory does not grow with its length."""

    def __init__(
        self,
        seed: int,
        duration_s: float = 600.0,
        *,
        config: WorldConfig | None = None,
        width: int = 640,
        height: int = 360,
    ) -> None:
        """Raises WorldError for a duration outside [10 s, 24 h], a negative seed or a picture below 64x36 pixels."""
        self._show(make_script(seed, duration_s, config), width, height)

    @classmethod
    def of(cls, script: Script, *, width: int = 640, height: int = 360) -> "World":
        """The world of an existing script, such as one of several cameras. Raises WorldError as above."""
        world = cls.__new__(cls)
        world._show(script, width, height)
        return world

    def _show(self, script: Script, width: int, height: int) -> None:
        self.script, self.width, self.height = script, width, height
        self._renderer = Renderer(script, width=width, height=height)

    def frame(self, t: float) -> NDArray[np.uint8]:
        """The picture at story time `t` (seconds), uint8 [height, width, 3]."""
        return self._renderer.frame(t)

    def questions(self, at_s: float, plan: QuestionPlan | None = None) -> list[WorldQuestion]:
        """Questions with one true answer at story time `at_s`; see `questions_at`."""
        return questions_at(self.script, at_s, plan)
