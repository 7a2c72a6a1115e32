"""How rich a world's stories are."""

from typing import Literal

from pydantic import Field, model_validator

from afterview.configs import Schema
from afterview.training.world.vocabulary import COLOURS, HELD_OUT_PAIRS, SCENES, SHAPES

Range = tuple[int, int]


class WorldConfig(Schema):
    """How rich the stories are. Ranges are inclusive; the seed draws from them."""

    objects: Range = (4, 8)  # different coloured shapes in one story
    repeats: Range = (0, 3)  # further showings of one of them
    digits: Range = (0, 2)
    words: Range = (0, 1)
    scenes: Range = (3, 5)  # different ones; they return
    scene_length_s: tuple[float, float] = (15.0, 180.0)  # log-uniform
    moving: float = Field(default=0.2, ge=0, le=1)  # share of showings that cross the frame
    alike: float = Field(default=0.5, ge=0, le=1)  # share of stories whose objects share colours and shapes on purpose
    pairs: Literal["seen", "held-out", "all"] = "seen"  # colour-shape pairs; see HELD_OUT_PAIRS
    # What follows is off unless it is asked for: it is drawn after everything else, so that no other world changes by it.
    changing: float = Field(
        default=0.0, ge=0, le=1
    )  # share of objects, long enough on show, that change colour or size in view
    hidden: float = Field(
        default=0.0, ge=0, le=1
    )  # share of still showings of objects that something in front covers in part

    @model_validator(mode="after")
    def _ordered(self) -> "WorldConfig":
        for name in ("objects", "repeats", "digits", "words", "scenes", "scene_length_s"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ValueError(f"{name} is ({low}, {high}); it must be two ascending numbers from 0 on")
        if self.scenes[0] < 2 or self.scenes[1] > len(SCENES) or self.scene_length_s[0] < 8:
            raise ValueError(f"a story has 2 to {len(SCENES)} scenes of at least 8 seconds each")
        return self

    def colour_shape_pairs(self) -> list[tuple[str, str]]:
        """The pairs that objects, and questions about absent ones, are drawn from."""
        every = [(colour, shape) for colour in COLOURS for shape in SHAPES]
        wanted = {"seen": (False,), "held-out": (True,), "all": (False, True)}[self.pairs]
        return [pair for pair in every if (pair in HELD_OUT_PAIRS) in wanted]
