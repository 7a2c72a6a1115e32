"""What can be asked about a story with one certain answer: kinds of claims that reach all 22 tasks.

A claim is written into a sentence, and read back from it. The same function answers it from captions (the exact writer, the exact checker)
and from the truth (the judge); None where there is no certain answer.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Final

from afterview.model.language.moments import clock
from afterview.training.marathon.worlds.story import Sighting, Story, whole_caption
from afterview.training.world.vocabulary import (
    COLOURS,
    COVERS,
    MOTIONS,
    PLACES,
    ROWS,
    SCENES,
    SHAPES,
    SIZES,
    article,
    length,
    listing,
)

Slots = Mapping[str, str]
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
_APART_S: Final = 15.0  # least distance of a wrong time from the right one
_LEFT: Final = {**{name: x for name, (x, _) in PLACES.items()}, **dict.fromkeys(ROWS, 0.5)}
_PAIRS: Final = 40  # most pairs of things that are considered


@dataclass(frozen=True)
class Found:
    """An answer. wrong: possible but wrong ones. shown: what proves it. value: the answer in seconds, if it is a time."""

    answer: str
    wrong: tuple[str, ...]
    shown: tuple[Sighting, ...] = ()
    value: float | None = None


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


def _names(story: Story) -> list[str]:
    return list(dict.fromkeys(one.name for one in story.sightings))


def _ones(story: Story) -> Iterator[Slots]:
    yield from ({"one": name} for name in _names(story))


def _twos(story: Story) -> Iterator[Slots]:
    singles = [name for name in _names(story) if story.single(name)]
    pairs = list(permutations(singles, 2))
    yield from ({"one": one, "two": two} for one, two in pairs[:: max(1, len(pairs) // _PAIRS)])


def _scenes(story: Story) -> Iterator[Slots]:
    yield from ({"scene": scene} for scene in dict.fromkeys(part.scene for part in story.parts))


def _nothing(story: Story) -> Iterator[Slots]:
    yield {}


def _when(story: Story, slots: Slots) -> Found | None:
    one = story.single(slots["one"])
    if one is None:
        return None
    others = [story.seconds * share for share in (0.1, 0.27, 0.43, 0.58, 0.74, 0.91)]
    wrong = tuple(clock(t) for t in others if abs(t - one.start_s) >= _APART_S)
    return Found(clock(one.start_s), wrong, (one,), one.start_s)


def _length(seconds: float, shown: tuple[Sighting, ...]) -> Found:
    wrong = {length(other) for other in (seconds + 2, seconds * 2 + 1, seconds * 3 + 2, seconds / 2)} - {
        length(seconds)
    }
    return Found(length(seconds), tuple(sorted(wrong - {"0 seconds"})), shown, float(round(seconds)))


def _lasting(story: Story, slots: Slots) -> Found | None:
    one = story.single(slots["one"])
    return None if one is None or one.end_s >= story.seconds else _length(one.end_s - one.start_s, (one,))


def _scene_lasting(story: Story, slots: Slots) -> Found | None:
    part = story.part(slots["scene"])
    return None if part is None else _length(part.end_s - part.start_s, ())


def _two(
    story: Story, slots: Slots, value: Callable[[Sighting], float], least: float, *, moving: bool = False
) -> Found | None:
    """Which of two has the smaller value; None if they are alike."""
    one, two = (story.single(slots[key]) for key in ("one", "two"))
    if one is None or two is None or one is two or abs(value(one) - value(two)) < least:
        return None
    if moving and not (one.moves and two.moves):
        return None
    low, high = sorted((one, two), key=value)
    return Found(low.name, (high.name,), (one, two))


def _longer(story: Story, slots: Slots) -> Found | None:
    return _two(story, slots, lambda one: round(one.start_s - one.end_s), 1)


def _gap(story: Story, slots: Slots) -> Found | None:
    one, two = (story.single(slots[key]) for key in ("one", "two"))
    if one is None or two is None or two.start_s - one.start_s < 3:
        return None
    gap = two.start_s - one.start_s
    wrong = tuple(length(gap * factor) for factor in (0.4, 0.7, 1.5, 2.0))
    return Found(length(gap), wrong, (one, two), float(round(gap)))


def _first(story: Story, slots: Slots) -> Found | None:
    return _two(story, slots, lambda one: one.start_s, 0.5)


def _where(story: Story, slots: Slots) -> Found | None:
    shown = story.named(slots["one"])
    places = {one.place for one in shown}
    if len(places) != 1 or "" in places or any(one.moves for one in shown):
        return None
    place = places.pop()
    others = ROWS if shown[0].kind == "word" else PLACES
    return Found(place, tuple(other for other in others if other != place), tuple(shown))


def _lefter(story: Story, slots: Slots) -> Found | None:
    one, two = (story.single(slots[key]) for key in ("one", "two"))
    if one is None or two is None or one.moves or two.moves:
        return None
    return _two(story, slots, lambda thing: _LEFT[thing.place], 0.2)


def _colours_in_scenes(story: Story) -> Iterator[Slots]:
    found = {
        (one.colour, story.scene_at(one.start_s)) for one in story.sightings if one.kind == "object" and not one.to
    }
    yield from ({"colour": colour, "scene": scene} for colour, scene in sorted(found) if scene)


def _shape(story: Story, slots: Slots) -> Found | None:
    shown = [
        one
        for one in story.sightings
        if one.colour == slots["colour"] and story.scene_at(one.start_s) == slots["scene"]
    ]
    if len({one.shape for one in shown}) != 1 or any(slots["colour"] == one.to for one in story.sightings):
        return None
    return Found(shown[0].shape, tuple(other for other in SHAPES if other != shown[0].shape), tuple(shown))


def _sizes_and_shapes(story: Story) -> Iterator[Slots]:
    found = {(one.size, one.shape) for one in story.sightings if one.kind == "object"}
    yield from ({"size": size, "shape": shape} for size, shape in sorted(found))


def _colour(story: Story, slots: Slots) -> Found | None:
    alike = [one for one in story.sightings if one.shape == slots["shape"]]
    shown = [one for one in alike if one.size == slots["size"]]
    if len({one.colour for one in shown}) != 1 or any(one.to for one in alike):
        return None
    return Found(shown[0].colour, tuple(other for other in COLOURS if other != shown[0].colour), tuple(shown))


def _cover(story: Story, slots: Slots) -> Found | None:
    one = story.single(slots["one"])
    if one is None or not one.cover:
        return None
    return Found(f"a {one.cover}", tuple(f"a {other}" for other in COVERS if other != one.cover), (one,))


def _colours(story: Story) -> Iterator[Slots]:
    yield from ({"colour": colour} for colour in dict.fromkeys(one.colour for one in story.sightings if one.colour))


def _number(count: int, shown: tuple[Sighting, ...]) -> Found | None:
    return (
        Found(str(count), tuple(str(other) for other in range(max(1, count - 2), count + 4) if other != count), shown)
        if count
        else None
    )


def _how_many(story: Story, slots: Slots) -> Found | None:
    if any(one.to for one in story.sightings):
        return None
    shown = tuple(one for one in story.sightings if one.colour == slots["colour"])
    return _number(len({one.name for one in shown}), shown)


def _pairs(story: Story) -> Iterator[Slots]:
    """What was seen, and as many that were not, of colours and shapes that were."""
    seen = [(one.colour, one.shape) for one in story.sightings if one.kind == "object"]
    other = [(colour, shape) for colour, _ in seen for _, shape in seen if (colour, shape) not in seen]
    for colour, shape in dict.fromkeys([*seen, *other[: len(seen)]]):
        yield {"a": article(f"{colour} {shape}")}


def _yes_or_no(yes: bool, shown: tuple[Sighting, ...]) -> Found:
    return Found("yes", ("no",), shown) if yes else Found("no", ("yes",), shown)


def _exists(story: Story, slots: Slots) -> Found | None:
    name = slots["a"].partition(" ")[2]
    if any(one.to for one in story.sightings if name.endswith(one.shape)):
        return None
    shown = tuple(story.named(name))
    return _yes_or_no(bool(shown), shown)


def _again(story: Story, slots: Slots) -> Found | None:
    shown = tuple(story.named(slots["one"]))
    return _yes_or_no(len(shown) > 1, shown) if shown and not any(one.to for one in shown) else None


def _direction(story: Story, slots: Slots) -> Found | None:
    one = story.single(slots["one"])
    return (
        Found(one.motion, tuple(other for other in MOTIONS if other != one.motion), (one,))
        if one is not None and one.moves
        else None
    )


def _moving_when(story: Story, slots: Slots) -> Found | None:
    one = story.single(slots["one"])
    return _when(story, slots) if one is not None and one.moves else None


def _moving_first(story: Story, slots: Slots) -> Found | None:
    return _two(story, slots, lambda one: one.start_s, 0.5, moving=True)


def _moving_count(story: Story, slots: Slots) -> Found | None:
    shown = tuple(one for one in story.sightings if one.moves)
    return _number(len(shown), shown)


def _scene_of(story: Story, slots: Slots) -> Found | None:
    shown = story.named(slots["one"])
    scenes = {story.scene_at(one.start_s) for one in shown}
    if len(scenes) != 1 or "" in scenes:
        return None
    scene = scenes.pop()
    return Found(scene, tuple(other for other in SCENES if other != scene), tuple(shown))


def _next_scene(story: Story, slots: Slots) -> Found | None:
    part = story.part(slots["scene"])
    after = None if part is None else next((one for one in story.parts if one.start_s >= part.end_s - 0.5), None)
    if part is None or after is None:
        return None
    return Found(after.scene, tuple(other for other in SCENES if other not in (after.scene, part.scene)))


def _next_thing(story: Story, slots: Slots) -> Found | None:
    one = story.single(slots["one"])
    after = None if one is None else next((other for other in story.sightings if other.start_s > one.start_s), None)
    if one is None or after is None or after.to:
        return None
    wrong = tuple(name for name in _names(story) if name not in (after.name, one.name))
    return Found(after.name, wrong, (one, after))


def _in_scene(story: Story, slots: Slots) -> Found | None:
    part = story.part(slots["scene"])
    if part is None:
        return None
    inside = story.inside(part)
    names = [one.named for one in inside]
    elsewhere = [one.named for one in story.sightings if one.named not in names]
    others = [[one.named for one in story.inside(other)] for other in story.parts if other is not part]
    others += [[*names[:-1], other] for other in elsewhere[:3]] + [[other] for other in elsewhere[:3]]
    others = [other for other in others if set(other) - set(names)]  # a part of the answer would be right, too
    said = {listing(other) for other in others} | ({"nothing"} if names else set())
    answer = listing(names) if names else "nothing"
    return Found(answer, tuple(sorted(said - {answer})), tuple(inside))


def _summary(story: Story, slots: Slots) -> Found | None:
    scenes, things = [part.scene for part in story.parts], [one.named for one in story.sightings]
    wrong = {
        whole_caption(scenes[::-1], things),
        whole_caption(scenes, things[::-1]),
        whole_caption(scenes, things[1:]),
    }
    return Found(story.whole(), tuple(sorted(wrong - {story.whole()})), story.sightings)


CLAIMS: Final = (
    Claim("temporal perception", "At what time does the {one} appear?", _ones, _when),
    Claim("duration perception", "How long is the {one} visible?", _ones, _lasting),
    Claim("duration perception", "How long is the {scene} scene shown?", _scenes, _scene_lasting),
    Claim("temporal reasoning", "Which is visible for longer, the {one} or the {two}?", _twos, _longer),
    Claim(
        "temporal gap estimation",
        "How much time passes from the start of the {one} to the start of the {two}?",
        _twos,
        _gap,
    ),
    Claim("temporal order", "Which appears first, the {one} or the {two}?", _twos, _first),
    Claim("spatial perception", "In which part of the picture is the {one}?", _ones, _where),
    Claim("spatial reasoning", "Which is further to the left, the {one} or the {two}?", _twos, _lefter),
    Claim(
        "object recognition", "Which shape has the {colour} object in the {scene} scene?", _colours_in_scenes, _shape
    ),
    Claim("object attribute", "What colour is the {size} {shape}?", _sizes_and_shapes, _colour),
    Claim("object interaction", "What stands in front of the {one}?", _ones, _cover),
    Claim("object reasoning", "How many different {colour} objects appear?", _colours, _how_many),
    Claim("object existence", "Does {a} appear in the video?", _pairs, _exists),
    Claim("object permanence", "Does the {one} appear again after it has gone?", _ones, _again),
    Claim("action recognition", "In which direction does the {one} move?", _ones, _direction),
    Claim("action localization", "When does the {one} begin to move across the picture?", _ones, _moving_when),
    Claim("action sequence", "Which moves across the picture first, the {one} or the {two}?", _twos, _moving_first),
    Claim("action reasoning", "How many times does something move across the picture?", _nothing, _moving_count),
    Claim("scene recognition", "In which scene does the {one} appear?", _ones, _scene_of),
    Claim("scene transition", "Which scene comes directly after the {scene} scene?", _scenes, _next_scene),
    Claim("event sequence", "What appears directly after the {one}?", _ones, _next_thing),
    Claim("key event extraction", "What appears in the {scene} scene?", _scenes, _in_scene),
    Claim("overall summarization", "What does the whole video show?", _nothing, _summary),
)
