"""What can be asked about a story with one certain answer: kinds of claims that reach all 22 tasks.

A claim is written into a sentence, and read back from it. One function (worlds.certain) answers it from captions (the exact writer, the
exact checker) and from the truth (the judge).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from afterview.training.marathon.worlds import certain
from afterview.training.marathon.worlds.certain import Found, Slots
from afterview.training.marathon.worlds.story import Story
from afterview.training.world.vocabulary import COLOURS, SCENES, SHAPES, SIZES

_THING: Final = rf"(?:{'|'.join(COLOURS)}) (?:{'|'.join(SHAPES)})|digit \d|word [A-Z]+"
_SLOTS: Final = {
    "one": _THING,
    "two": _THING,
    "a": rf"an? (?:{'|'.join(COLOURS)}) (?:{'|'.join(SHAPES)})",
    "scene": "|".join(SCENES),
    "colour": "|".join(COLOURS),
    "shape": "|".join(SHAPES),
    "size": "|".join(SIZES),
}  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """A kind of question. slots: all that are worth trying. answer: None where it is not certain."""

    task: str
    text: str
    slots: Callable[[Story], Iterator[Slots]]
    answer: Callable[[Story, Slots], Found | None]

    def written(self, slots: Slots) -> str:
        """The question."""
        return self.text.format(**slots)

    def read(self, question: str) -> Slots | None:
        """The slots of a question that is of this kind."""
        pattern = re.escape(self.text)
        for name, words in _SLOTS.items():
            pattern = pattern.replace(re.escape(f"{{{name}}}"), f"(?P<{name}>{words})")
        found = re.fullmatch(pattern, question)
        return None if found is None else found.groupdict()


def read_claim(question: str) -> tuple[Claim, Slots] | None:
    """The kind and the slots of a question in the world's words."""
    return next(((claim, slots) for claim in CLAIMS if (slots := claim.read(question)) is not None), None)


CLAIMS: Final = (
    Claim("temporal perception", "At what time does the {one} appear?", certain.ones, certain.when),
    Claim("duration perception", "How long is the {one} visible?", certain.ones, certain.lasting),
    Claim("duration perception", "How long is the {scene} scene shown?", certain.scenes, certain.scene_lasting),
    Claim("temporal reasoning", "Which is visible for longer, the {one} or the {two}?", certain.twos, certain.longer),
    Claim(
        "temporal gap estimation",
        "How much time passes from the start of the {one} to the start of the {two}?",
        certain.twos,
        certain.gap,
    ),
    Claim("temporal order", "Which appears first, the {one} or the {two}?", certain.twos, certain.first),
    Claim("spatial perception", "In which part of the picture is the {one}?", certain.ones, certain.where),
    Claim("spatial reasoning", "Which is further to the left, the {one} or the {two}?", certain.twos, certain.lefter),
    Claim(
        "object recognition",
        "Which shape has the {colour} object in the {scene} scene?",
        certain.colours_in_scenes,
        certain.shape,
    ),
    Claim("object attribute", "What colour is the {size} {shape}?", certain.sizes_and_shapes, certain.colour),
    Claim("object interaction", "What stands in front of the {one}?", certain.ones, certain.cover),
    Claim("object reasoning", "How many different {colour} objects appear?", certain.colours, certain.how_many),
    Claim("object existence", "Does {a} appear in the video?", certain.pairs, certain.exists),
    Claim("object permanence", "Does the {one} appear again after it has gone?", certain.ones, certain.again),
    Claim("action recognition", "In which direction does the {one} move?", certain.ones, certain.direction),
    Claim(
        "action localization",
        "When does the {one} begin to move across the picture?",
        certain.ones,
        certain.moving_when,
    ),
    Claim(
        "action sequence",
        "Which moves across the picture first, the {one} or the {two}?",
        certain.twos,
        certain.moving_first,
    ),
    Claim(
        "action reasoning",
        "How many times does something move across the picture?",
        certain.nothing,
        certain.moving_count,
    ),
    Claim("scene recognition", "In which scene does the {one} appear?", certain.ones, certain.scene_of),
    Claim(
        "scene transition", "Which scene comes directly after the {scene} scene?", certain.scenes, certain.next_scene
    ),
    Claim("event sequence", "What appears directly after the {one}?", certain.ones, certain.next_thing),
    Claim("key event extraction", "What appears in the {scene} scene?", certain.scenes, certain.in_scene),
    Claim("overall summarization", "What does the whole video show?", certain.nothing, certain.summary),
)
