"""Needles of the synthetic world: pictures of one thing, some with a clue that names another, and questions about them.

The tasks are those of VideoChat-Flash's needle in a video haystack (arXiv 2501.00574). There a clue is an overlay of text,
"Find a frame of ...". Here it is a small picture of the thing to find, in the top right corner, because the small model reads
pictures and not sentences. The texts of the questions are the published ones. Pure, except for drawing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from afterview.training.world.config import WorldConfig
from afterview.training.world.history import Reference
from afterview.training.world.phrasing import word, wordings
from afterview.training.world.render import Renderer
from afterview.training.world.script import place_event
from afterview.training.world.story import Event, Script, StorySegment
from afterview.training.world.vocabulary import COLOURS, DIGITS, PLACES, SCENES, SHAPES, SIZES, WORDS

CORNER: Final = "top right"  # where clues are; the things that pictures show are elsewhere
_THING_PLACES: Final = tuple(place for place in PLACES if place != CORNER)
DAY_S: Final = 86_400.0
SINGLE_KINDS: Final = ("colour", "shape", "where", "scene", "size", "digit", "word")
FINAL_KINDS: Final = ("where", "scene")  # what the clue does not tell, so that the last picture must be found
OPTIONS: Final = 4
_LETTERS: Final = "ABCDEFGH"

BEST: Final = "Only give the best option. Best option: ("
_FIND: Final = "Find the frame of {caption}."
_LOCATE: Final = _FIND + " Locate the final frame based on the instructions in the image, and "
_CHOOSE: Final = _LOCATE + "choose the captions that best describe the frame:"
_ANSWER: Final = _LOCATE + "answer the following question based on the final frame: {question}"
_FINAL_QUESTIONS: Final = {
    "where": ("Where in the picture is it?", "Where is it?", "In which part of the picture is it?"),
    "scene": ("Which scene is behind it?", "In which scene is it?", "What scene is it in?"),
}
_VALUES: Final[dict[str, tuple[str, ...]]] = {
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "where": _THING_PLACES,
    "scene": SCENES,
    "size": tuple(SIZES),
    "digit": DIGITS,
    "word": WORDS,
}
_ATTRIBUTES: Final = {"where": "place", "digit": "text", "word": "text"}  # others are called as their kind


@dataclass(frozen=True)
class NeedlePicture:
    """One picture: a thing, and in the corner perhaps a clue, which is what to find next."""

    thing: Event
    clue: Event | None = None

    @property
    def caption(self) -> str:
        """`a red circle`, `the digit 7`."""
        return caption_of(self.thing)


@dataclass(frozen=True)
class Choice:
    """A question with lettered options, and the letter of the right one."""

    kind: str
    text: str  # the question without its options
    options: tuple[str, ...]
    letter: str

    @property
    def answer(self) -> str:
        """The right option."""
        return self.options[_LETTERS.index(self.letter)]

    @property
    def asked(self) -> str:
        """The question as it is asked."""
        return lettered(self.text, self.options)


def lettered(text: str, options: Sequence[str]) -> str:
    """A question with its options in the published format: `(A) red`, one a line, and the published ending."""
    lines = [f"({letter}) {option}" for letter, option in zip(_LETTERS, options, strict=False)]
    return "\n".join([text, *lines, BEST])


def caption_of(thing: Event) -> str:
    """The name of what a picture shows."""
    return Reference(kind=thing.kind, colour=thing.colour, shape=thing.shape, text=thing.text).a


def draw_thing(rng: Random, kind: str, *, without: Sequence[tuple[str, str]] = ()) -> dict[str, str]:
    """What a picture shows: an object of none of the colour-shape pairs in `without`, a digit or a word."""
    if kind == "object":
        colour, shape = rng.choice([pair for pair in WorldConfig().colour_shape_pairs() if pair not in without])
        return {"kind": kind, "colour": colour, "shape": shape, "size": rng.choice(list(SIZES))}
    return {"kind": kind, "text": rng.choice(DIGITS if kind == "digit" else WORDS)}


def draw_picture(
    rng: Random, thing: dict[str, str], scene: str, clue: tuple[str, str] | None = None, at_s: float = 0.0
) -> NeedlePicture:
    """A picture of a thing somewhere in a scene. clue: colour and shape of what to find next."""
    while True:
        shown = place_event(rng, thing, 0, at_s, 1, scene, moving=0.0)
        if shown.place in _THING_PLACES or thing["kind"] == "word":
            break
    return NeedlePicture(shown, None if clue is None else _clue(rng, clue, scene, at_s))


def _clue(rng: Random, pair: tuple[str, str], scene: str, at_s: float) -> Event:
    x, y = PLACES[CORNER]
    at = (round(x + rng.uniform(-0.02, 0.02), 3), round(y + rng.uniform(-0.01, 0.01), 3))
    return Event(
        number=1, kind="object", start_s=at_s, end_s=at_s + 1, scene=scene, colour=pair[0], shape=pair[1],
        size="small", place=CORNER, enters=at, leaves=at,
    )  # fmt: skip


def draw_chain(rng: Random, hops: int, decoys: int = 3) -> tuple[list[NeedlePicture], list[NeedlePicture]]:
    """(chain, decoys). The chain: `hops` pictures, each with a clue to the next, and the last one without a clue.

    The decoys are a chain of their own. No two pictures show the same colour and shape.
    """
    things: list[dict[str, str]] = []
    for _ in range(hops + 1 + decoys):
        taken = [(thing["colour"], thing["shape"]) for thing in things]
        things.append(draw_thing(rng, "object", without=taken))
    parts = things[: hops + 1], things[hops + 1 :]
    chain, false = ([*_linked(rng, part)] for part in parts)
    return chain, false


def _linked(rng: Random, things: Sequence[dict[str, str]]) -> list[NeedlePicture]:
    clues = [(thing["colour"], thing["shape"]) for thing in things[1:]]
    return [
        draw_picture(rng, thing, rng.choice(SCENES), clue) for thing, clue in zip(things, [*clues, None], strict=True)
    ]


def single_question(rng: Random, picture: NeedlePicture, kind: str, *, held_out: bool = False) -> Choice:
    """A question about one picture. Its caption does not tell the answer."""
    thing = picture.thing
    hidden: dict[str, dict[str, Any]] = {
        "colour": {"colour": None},
        "shape": {"shape": None},
        "digit": {"text": None},
        "word": {"text": None},
    }
    name = Reference(kind=thing.kind, colour=thing.colour, shape=thing.shape, text=thing.text)
    about = replace(name, **hidden.get(kind, {}))
    number = rng.choice(wordings(kind, held_out=held_out))
    question = word(kind, number, {"the": about.the, "a": about.a, "qualifier": ""})
    answer = str(getattr(thing, _ATTRIBUTES.get(kind, kind)))
    text = f"{_FIND.format(caption=about.a)} {question}"
    return _choice(rng, kind, text, answer, _VALUES[kind])


def caption_question(rng: Random, first: NeedlePicture, last: NeedlePicture, others: Sequence[NeedlePicture]) -> Choice:
    """Which caption describes the last picture of the chain that begins with `first`. The wrong ones are of the other pictures."""
    wrong = sorted({picture.caption for picture in others} - {last.caption, first.caption})
    text = _CHOOSE.format(caption=first.caption)
    return _choice(rng, "caption", text, last.caption, (last.caption, *wrong))


def final_question(rng: Random, first: NeedlePicture, last: NeedlePicture, kind: str) -> Choice:
    """Where the thing in the last picture is, or which scene is behind it."""
    question = rng.choice(_FINAL_QUESTIONS[kind])
    answer = str(getattr(last.thing, _ATTRIBUTES.get(kind, kind)))
    return _choice(rng, "final", _ANSWER.format(caption=first.caption, question=question), answer, _VALUES[kind])


def _choice(rng: Random, kind: str, text: str, answer: str, values: Sequence[str]) -> Choice:
    wrong = [value for value in values if value != answer]
    offered = rng.sample(wrong, min(OPTIONS - 1, len(wrong)))
    offered.insert(rng.randint(0, len(offered)), answer)
    return Choice(kind, text, tuple(offered), _LETTERS[offered.index(answer)])


class NeedleCanvas:
    """Draws pictures of one seed and scene. Its panorama is drawn once."""

    def __init__(self, seed: int, scene: str, *, width: int = 640, height: int = 360) -> None:
        rng = Random(f"needle canvas 1, {seed}, {scene}")
        segment = StorySegment(
            scene=scene, start_s=0.0, end_s=DAY_S, offset=rng.random(), drift=rng.choice((-1, 1)) * rng.uniform(0.006, 0.025),
            passer_speed=rng.choice((-1, 1)) * rng.uniform(0.03, 0.12), passer_height=rng.uniform(0.15, 0.85),
        )  # fmt: skip
        script = Script(
            seed=seed, duration_s=DAY_S, start_hour=0.0, config=WorldConfig(), segments=(segment,), events=()
        )
        self._renderer = Renderer(script, width=width, height=height)

    def draw(self, picture: NeedlePicture, at_s: float) -> NDArray[np.uint8]:
        """The picture at a time of the day, uint8 [H, W, 3]."""
        shown = [event for event in (picture.thing, picture.clue) if event is not None]
        return self._renderer.frame_with(at_s, shown)
