"""The certain answers about a story, one function a kind of question; None where there is no certain answer. Pure.

The functions without a story's answer list the slots that are worth trying: things, pairs of things, scenes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Final

from afterview.model.language.moments import SHORTEST, clock, length
from afterview.training.marathon.worlds.story import Sighting, Story, whole_caption
from afterview.training.world.vocabulary import (
    COLOURS,
    COVERS,
    MOTIONS,
    PLACES,
    ROWS,
    SCENES,
    SHAPES,
    article,
    listing,
)

Slots = Mapping[str, str]
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


def _names(story: Story) -> list[str]:
    return list(dict.fromkeys(one.name for one in story.sightings))


def ones(story: Story) -> Iterator[Slots]:
    yield from ({"one": name} for name in _names(story))


def twos(story: Story) -> Iterator[Slots]:
    singles = [name for name in _names(story) if story.single(name)]
    pairs = list(permutations(singles, 2))
    yield from ({"one": one, "two": two} for one, two in pairs[:: max(1, len(pairs) // _PAIRS)])


def scenes(story: Story) -> Iterator[Slots]:
    yield from ({"scene": scene} for scene in dict.fromkeys(part.scene for part in story.parts))


def nothing(story: Story) -> Iterator[Slots]:
    yield {}


def when(story: Story, slots: Slots) -> Found | None:
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
    return Found(length(seconds), tuple(sorted(wrong - {SHORTEST})), shown, float(round(seconds)))


def lasting(story: Story, slots: Slots) -> Found | None:
    one = story.single(slots["one"])
    return None if one is None or one.end_s >= story.seconds else _length(one.end_s - one.start_s, (one,))


def scene_lasting(story: Story, slots: Slots) -> Found | None:
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


def longer(story: Story, slots: Slots) -> Found | None:
    return _two(story, slots, lambda one: round(one.start_s - one.end_s), 1)


def gap(story: Story, slots: Slots) -> Found | None:
    one, two = (story.single(slots[key]) for key in ("one", "two"))
    if one is None or two is None or two.start_s - one.start_s < 3:
        return None
    gap = two.start_s - one.start_s
    wrong = tuple(length(gap * factor) for factor in (0.4, 0.7, 1.5, 2.0))
    return Found(length(gap), wrong, (one, two), float(round(gap)))


def first(story: Story, slots: Slots) -> Found | None:
    return _two(story, slots, lambda one: one.start_s, 0.5)


def where(story: Story, slots: Slots) -> Found | None:
    shown = story.named(slots["one"])
    places = {one.place for one in shown}
    if len(places) != 1 or "" in places or any(one.moves for one in shown):
        return None
    place = places.pop()
    others = ROWS if shown[0].kind == "word" else PLACES
    return Found(place, tuple(other for other in others if other != place), tuple(shown))


def lefter(story: Story, slots: Slots) -> Found | None:
    one, two = (story.single(slots[key]) for key in ("one", "two"))
    if one is None or two is None or one.moves or two.moves or not (one.place and two.place):
        return None
    return _two(story, slots, lambda thing: _LEFT[thing.place], 0.2)


def colours_in_scenes(story: Story) -> Iterator[Slots]:
    found = {
        (one.colour, story.scene_at(one.start_s)) for one in story.sightings if one.kind == "object" and not one.to
    }
    yield from ({"colour": colour, "scene": scene} for colour, scene in sorted(found) if scene)


def shape(story: Story, slots: Slots) -> Found | None:
    shown = [
        one
        for one in story.sightings
        if one.colour == slots["colour"] and story.scene_at(one.start_s) == slots["scene"]
    ]
    if len({one.shape for one in shown}) != 1 or any(slots["colour"] == one.to for one in story.sightings):
        return None
    return Found(shown[0].shape, tuple(other for other in SHAPES if other != shown[0].shape), tuple(shown))


def sizes_and_shapes(story: Story) -> Iterator[Slots]:
    found = {(one.size, one.shape) for one in story.sightings if one.kind == "object" and one.size}
    yield from ({"size": size, "shape": shape} for size, shape in sorted(found))


def colour(story: Story, slots: Slots) -> Found | None:
    alike = [one for one in story.sightings if one.shape == slots["shape"]]
    shown = [one for one in alike if one.size == slots["size"]]
    if len({one.colour for one in shown}) != 1 or any(one.to or not one.size for one in alike):
        return None
    return Found(shown[0].colour, tuple(other for other in COLOURS if other != shown[0].colour), tuple(shown))


def cover(story: Story, slots: Slots) -> Found | None:
    one = story.single(slots["one"])
    if one is None or not one.cover:
        return None
    return Found(f"a {one.cover}", tuple(f"a {other}" for other in COVERS if other != one.cover), (one,))


def colours(story: Story) -> Iterator[Slots]:
    yield from ({"colour": colour} for colour in dict.fromkeys(one.colour for one in story.sightings if one.colour))


def _number(count: int, shown: tuple[Sighting, ...]) -> Found | None:
    return (
        Found(str(count), tuple(str(other) for other in range(max(1, count - 2), count + 4) if other != count), shown)
        if count
        else None
    )


def how_many(story: Story, slots: Slots) -> Found | None:
    if any(one.to for one in story.sightings):
        return None
    shown = tuple(one for one in story.sightings if one.colour == slots["colour"])
    return _number(len({one.name for one in shown}), shown)


def pairs(story: Story) -> Iterator[Slots]:
    """What was seen, and as many that were not, of colours and shapes that were."""
    seen = [(one.colour, one.shape) for one in story.sightings if one.kind == "object"]
    other = [(colour, shape) for colour, _ in seen for _, shape in seen if (colour, shape) not in seen]
    for colour, shape in dict.fromkeys([*seen, *other[: len(seen)]]):
        yield {"a": article(f"{colour} {shape}")}


def _yes_or_no(yes: bool, shown: tuple[Sighting, ...]) -> Found:
    return Found("yes", ("no",), shown) if yes else Found("no", ("yes",), shown)


def exists(story: Story, slots: Slots) -> Found | None:
    name = slots["a"].partition(" ")[2]
    if any(one.to for one in story.sightings if name.endswith(one.shape)):
        return None
    shown = tuple(story.named(name))
    return _yes_or_no(bool(shown), shown)


def again(story: Story, slots: Slots) -> Found | None:
    shown = tuple(story.named(slots["one"]))
    return _yes_or_no(len(shown) > 1, shown) if shown and not any(one.to for one in shown) else None


def direction(story: Story, slots: Slots) -> Found | None:
    one = story.single(slots["one"])
    return (
        Found(one.motion, tuple(other for other in MOTIONS if other != one.motion), (one,))
        if one is not None and one.moves
        else None
    )


def moving_when(story: Story, slots: Slots) -> Found | None:
    one = story.single(slots["one"])
    return when(story, slots) if one is not None and one.moves else None


def moving_first(story: Story, slots: Slots) -> Found | None:
    return _two(story, slots, lambda one: one.start_s, 0.5, moving=True)


def moving_count(story: Story, slots: Slots) -> Found | None:
    shown = tuple(one for one in story.sightings if one.moves)
    return _number(len(shown), shown)


def scene_of(story: Story, slots: Slots) -> Found | None:
    shown = story.named(slots["one"])
    scenes = {story.scene_at(one.start_s) for one in shown}
    if len(scenes) != 1 or "" in scenes:
        return None
    scene = scenes.pop()
    return Found(scene, tuple(other for other in SCENES if other != scene), tuple(shown))


def next_scene(story: Story, slots: Slots) -> Found | None:
    part = story.part(slots["scene"])
    after = None if part is None else next((one for one in story.parts if one.start_s >= part.end_s - 0.5), None)
    if part is None or after is None:
        return None
    return Found(after.scene, tuple(other for other in SCENES if other not in (after.scene, part.scene)))


def next_thing(story: Story, slots: Slots) -> Found | None:
    one = story.single(slots["one"])
    after = None if one is None else next((other for other in story.sightings if other.start_s > one.start_s), None)
    if one is None or after is None or after.to:
        return None
    wrong = tuple(name for name in _names(story) if name not in (after.name, one.name))
    return Found(after.name, wrong, (one, after))


def in_scene(story: Story, slots: Slots) -> Found | None:
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


def summary(story: Story, slots: Slots) -> Found | None:
    scenes, things = [part.scene for part in story.parts], [one.named for one in story.sightings]
    wrong = {
        whole_caption(scenes[::-1], things),
        whole_caption(scenes, things[::-1]),
        whole_caption(scenes, things[1:]),
    }
    return Found(story.whole(), tuple(sorted(wrong - {story.whole()})), story.sightings)
