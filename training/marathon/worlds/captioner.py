"""Captions of synthetic video: exact, or with mistakes at known rates. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from afterview.training.base.seeds import seeded
from afterview.training.marathon.worlds.story import Part, Sighting, Story
from afterview.training.world.vocabulary import COLOURS, DIGITS, MOTIONS, PLACES, ROWS, SHAPES, SIZES, WORDS, listing

_SHORTEST_S = 0.05  # of a thing in a clip
_INVENTED_S = 3.0  # how long an invented thing stays


@dataclass(frozen=True)
class Mistakes:
    """Rates: of things left out, of things with a wrong attribute, of invented things per clip. seed: of the captioner that makes them."""

    drop: float = 0.0
    swap: float = 0.0
    hallucinate: float = 0.0
    seed: int = 0

    @property
    def any(self) -> bool:
        """Whether there are some."""
        return bool(self.drop or self.swap or self.hallucinate)


def caption_clip(story: Story, name: str, start_s: float, end_s: float, mistakes: Mistakes) -> dict[str, Any]:
    """The caption of [start_s, end_s) in six aspects. name: of the video, for the draw of mistakes."""
    seen = [_cut(one, start_s, end_s) for one in story.sightings if _overlaps(one, start_s, end_s)]
    parts = [_cut(part, start_s, end_s) for part in story.parts if _overlaps(part, start_s, end_s)]
    if mistakes.any:
        rng = seeded(f"mistakes 1, {name}, {start_s!r} to {end_s!r}, seed {mistakes.seed}")
        seen = sorted(_mistaken(seen, story, start_s, end_s, mistakes, rng), key=lambda one: one.start_s)
    return described(parts, seen)


def described(parts: Sequence[Part], seen: Sequence[Sighting]) -> dict[str, Any]:
    """A caption in six aspects of what is shown. Both are in order of time."""
    scenes, things = [part.scene for part in parts] or ["unknown"], [one.named for one in seen]
    moving = [one for one in seen if one.moves]
    moments = [
        {"start_s": part.start_s, "end_s": part.end_s, "aspect": "scene", "text": f"the {part.scene} scene"} for part in parts
    ]  # fmt: skip
    moments += [one.moment().model_dump() for one in seen]
    return {
        "temporality": "; ".join(f"{one.named} from {one.start_s:g} to {one.end_s:g} s" for one in seen)
        or "nothing happens",
        "spatiality": "; ".join(f"{one.named} in the {one.place}" for one in seen if one.place)
        or "nothing stands still",
        "object": listing(things) if things else "no thing",
        "action": "; ".join(f"{one.named} moves {one.motion}" for one in moving) or "nothing moves",
        "scene": f"the {', then the '.join(scenes)}",
        "summary": f"The {', then the '.join(scenes)}. {listing(things) if things else 'Nothing'} appears.",
        "moments": moments,
    }


def _overlaps(one: Sighting | Part, start_s: float, end_s: float) -> bool:
    return min(one.end_s, end_s) - max(one.start_s, start_s) > _SHORTEST_S


def _cut(one: Any, start_s: float, end_s: float) -> Any:
    return replace(one, start_s=round(max(one.start_s, start_s), 3), end_s=round(min(one.end_s, end_s), 3))


def _mistaken(
    seen: list[Sighting], story: Story, start_s: float, end_s: float, mistakes: Mistakes, rng: Random
) -> Iterator[Sighting]:
    for one in seen:
        dropped, swapped = rng.random() < mistakes.drop, rng.random() < mistakes.swap
        if not dropped:
            yield _swapped(one, story, rng) if swapped else one
    if rng.random() < mistakes.hallucinate:
        start = round(rng.uniform(start_s, max(start_s, end_s - _INVENTED_S)), 1)
        yield Sighting(
            start, min(start + _INVENTED_S, end_s), colour=rng.choice(list(COLOURS)), shape=rng.choice(SHAPES),
            size=rng.choice(list(SIZES)), place=rng.choice(list(PLACES)),
        )  # fmt: skip


def _swapped(one: Sighting, story: Story, rng: Random) -> Sighting:
    """The thing with one attribute of another thing of the video that has a different one, or of any."""
    if one.kind != "object":
        values: dict[str, list[str]] = {
            "text": list(DIGITS if one.kind == "digit" else WORDS), "place": list(PLACES if one.kind == "digit" else ROWS)
        }  # fmt: skip
    else:
        values = {"colour": list(COLOURS), "shape": list(SHAPES), "size": list(SIZES)}
        values |= {"motion": list(MOTIONS)} if one.moves else {"place": list(PLACES)}
    attribute = rng.choice(list(values))
    others = [getattr(other, attribute) for other in story.sightings if other.kind == one.kind]
    wrong = [other for other in others if other in values[attribute] and other != getattr(one, attribute)]
    return replace(
        one, **{attribute: rng.choice(wrong or [v for v in values[attribute] if v != getattr(one, attribute)])}
    )
