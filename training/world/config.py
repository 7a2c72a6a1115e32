"""How rich a world's stories are."""

from typing import Literal

from pydantic import Field, model_validator

from afterview.configs import Schema
from afterview.training.world.vocabulary import COLOURS, HELD_OUT_PAIRS, SCENES, SHAPES

Range = tuple[int, int]


class WorldConfig(Schema):
    """How rich the stories are. Ranges are inclusive; the seed draws from them."""

    objects: Range = (4, 8)  # different coloured shapes in one story
    repeats: Range = (0, 3)  # repeated showings of one of them
    digits: Range = (0, 2)
    words: Range = (0, 1)
    scenes: Range = (3, 5)  # different scenes; they recur
    scene_length_s: tuple[float, float] = (15.0, 180.0)  # log-uniform
    moving: float = Field(default=0.2, ge=0, le=1)  # share of showings that move across the frame
    # Share of stories in which objects share colours and shapes on purpose.
    alike: float = Field(default=0.5, ge=0, le=1)
    pairs: Literal["seen", "held-out", "all"] = "seen"  # colour-shape pairs; see HELD_OUT_PAIRS
    # Off by default, and drawn after everything else, so that worlds without them stay the same.
    # Share of objects that change colour or size in view, among those visible for long enough.
    changing: float = Field(default=0.0, ge=0, le=1)
    # Share of showings of still objects that are partly covered by something in front.
    hidden: float = Field(default=0.0, ge=0, le=1)

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
        """The pairs for objects and for questions about absent objects."""
        every = [(colour, shape) for colour in COLOURS for shape in SHAPES]
        wanted = {"seen": (False,), "held-out": (True,), "all": (False, True)}[self.pairs]
        return [pair for pair in every if (pair in HELD_OUT_PAIRS) in wanted]
