"""A synthetic video as its captions tell it: what is seen when, in sentences that can be read back.

The exact captioner writes `Moment`s from the truth; the exact writer and the exact checker read them, and know nothing else. A captioner
that makes mistakes so leads to wrong questions, as a real one does.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from afterview.training.marathon.rows import Moment
from afterview.training.world.story import Event, Script
from afterview.training.world.truth import VideoFacts
from afterview.training.world.vocabulary import (
    COLOURS,
    COVERS,
    MOTIONS,
    PLACES,
    ROWS,
    SCENES,
    SHAPES,
    SIZES,
    STILL,
    article,
    listing,
)

_JOINS_S: Final = 0.75  # between two sentences about one thing, at the border of two clips; showings are 2 s apart


def _any(words: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


_OBJECT: Final = re.compile(
    rf"an? (?:(?P<size>{_any(SIZES)}) )?(?P<colour>{_any(COLOURS)}) (?P<shape>{_any(SHAPES)})"
    rf"(?: in the (?P<place>{_any(PLACES)})| moving (?P<motion>{_any(MOTIONS)}) across the picture)?"
    rf"(?:, partly hidden behind a (?P<cover>{_any(COVERS)}))?(?:, turning (?P<to>{_any([*COLOURS, *SIZES])}))?"
)
_CARD: Final = re.compile(
    rf"the (?P<kind>digit|word) (?P<text>[0-9A-Z]+)(?: in the (?P<place>{_any([*PLACES, *ROWS])}))?"
)
_SCENE: Final = re.compile(rf"the (?P<scene>{_any(SCENES)}) scene")


@dataclass(frozen=True)
class Sighting:
    """One showing of a thing, [start_s, end_s). to: what it turns into in view."""

    start_s: float
    end_s: float
    kind: str = "object"
    colour: str = ""
    shape: str = ""
    size: str = ""
    text: str = ""
    place: str = ""
    motion: str = STILL
    cover: str = ""
    to: str = ""

    @property
    def name(self) -> str:
        """`red circle`, `digit 7`, `word STOP`."""
        return f"{self.colour} {self.shape}" if self.kind == "object" else f"{self.kind} {self.text}"

    @property
    def named(self) -> str:
        """With its article."""
        return article(self.name) if self.kind == "object" else f"the {self.name}"

    @property
    def moves(self) -> bool:
        """Whether it crosses the picture."""
        return self.motion != STILL

    def said(self) -> str:
        """The sentence about it; what captioners do not agree on may be lacking: its size, its place."""
        at = f" in the {self.place}" if self.place else ""
        if self.kind != "object":
            return f"the {self.name}{at}"
        where = f" moving {self.motion} across the picture" if self.moves else at
        hidden = f", partly hidden behind a {self.cover}" if self.cover else ""
        sized = f"{self.size} {self.name}" if self.size else self.name
        return f"{article(sized)}{where}{hidden}{f', turning {self.to}' if self.to else ''}"

    def moment(self) -> Moment:
        """It as a moment of a caption."""
        aspect = "action" if self.moves else "object"
        return Moment(start_s=self.start_s, end_s=self.end_s, aspect=aspect, text=self.said())


@dataclass(frozen=True)
class Part:
    """One showing of a scene."""

    start_s: float
    end_s: float
    scene: str


@dataclass(frozen=True)
class Story:
    """A video as it is told. Both lists are in order of time."""

    seconds: float
    parts: tuple[Part, ...]
    sightings: tuple[Sighting, ...]

    def named(self, name: str) -> list[Sighting]:
        """All showings of a thing."""
        return [one for one in self.sightings if one.name == name]

    def single(self, name: str) -> Sighting | None:
        """The only showing of a thing that does not change; None if there is none, or several."""
        found = self.named(name)
        return found[0] if len(found) == 1 and not found[0].to else None

    def scene_at(self, t: float) -> str:
        """The scene at a time; empty if the captions name none."""
        return next((part.scene for part in reversed(self.parts) if part.start_s <= t + 1e-6), "")

    def part(self, scene: str) -> Part | None:
        """The only showing of a scene; None if there is none, or several."""
        found = [part for part in self.parts if part.scene == scene]
        return found[0] if len(found) == 1 else None

    def inside(self, part: Part) -> list[Sighting]:
        """What begins in a part."""
        return [one for one in self.sightings if part.start_s <= one.start_s < part.end_s]

    def whole(self) -> str:
        """The whole video in two sentences."""
        return whole_caption([part.scene for part in self.parts], [one.named for one in self.sightings])


def whole_caption(scenes: Sequence[str], things: Sequence[str]) -> str:
    """The caption of a whole video."""
    shown = (
        f"The video shows {listing([f'the {scene}' for scene in scenes])}." if scenes else "The video shows nothing."
    )
    return f"{shown} In this order appear {listing(list(things))}." if things else f"{shown} Nothing appears."


def story_of(script: Script, facts: VideoFacts | None) -> Story:
    """The truth. facts: which part of the story the video shows; None: all of it."""
    start, end = (0.0, script.duration_s) if facts is None else (facts.start_s, facts.end_s)
    parts = [
        Part(max(0.0, one.start_s - start), min(one.end_s, end) - start, one.scene)
        for one in script.segments
        if one.end_s > start and one.start_s < end
    ]
    shown = [_sighting(event, start, end) for event in script.events if event.end_s > start and event.start_s < end]
    return Story(end - start, tuple(parts), tuple(shown))


def _sighting(event: Event, start: float, end: float) -> Sighting:
    return Sighting(
        start_s=round(max(event.start_s, start) - start, 3),
        end_s=round(min(event.end_s, end) - start, 3),
        kind=event.kind,
        colour=event.colour or "",
        shape=event.shape or "",
        size=event.size or "",
        text=event.text or "",
        place=event.place or "",
        motion=event.motion,
        cover=event.cover.thing if event.cover else "",
        to=event.change.to if event.change else "",
    )


def read_story(moments: Iterable[Mapping[str, Any]], seconds: float) -> Story:
    """The video that moments of captions tell of. Sentences that the world does not know are left out."""
    parts: list[Part] = []
    sightings: list[Sighting] = []
    open_ones: dict[str, int] = {}
    for one in sorted(moments, key=lambda one: (float(one["start_s"]), float(one["end_s"]), str(one["text"]))):
        start, end, text = float(one["start_s"]), float(one["end_s"]), str(one["text"])
        if scene := _SCENE.fullmatch(text):
            if parts and parts[-1].scene == scene["scene"] and start - parts[-1].end_s < _JOINS_S:
                parts[-1] = replace(parts[-1], end_s=max(parts[-1].end_s, end))
            else:
                parts.append(Part(start, end, scene["scene"]))
            continue
        before = open_ones.get(text)
        if before is not None and start - sightings[before].end_s < _JOINS_S:
            sightings[before] = replace(sightings[before], end_s=max(sightings[before].end_s, end))
        elif (seen := sighting_in(text, start, end)) is not None:
            open_ones[text] = len(sightings)
            sightings.append(seen)
    return Story(seconds, tuple(parts), tuple(sightings))


def sighting_in(text: str, start_s: float, end_s: float) -> Sighting | None:
    """The thing that a sentence tells of; None if it tells of none."""
    found = _OBJECT.fullmatch(text) or _CARD.fullmatch(text)
    if found is None:
        return None
    return Sighting(start_s, end_s, **{key: value for key, value in found.groupdict().items() if value is not None})
