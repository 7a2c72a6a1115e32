"""The parts of a story: scenes, events, and the script that holds them.

A script is a sequence of scenes without gaps (each pans; scenes change and recur) with a few timed events: a coloured
shape, a digit or a word is visible for a whole number of seconds, from seconds to hours apart. Times are seconds since
the start of the story, in tenths.
"""

import bisect
from functools import cached_property
from typing import Literal

from afterview.configs import Schema
from afterview.training.world.config import WorldConfig
from afterview.training.world.vocabulary import DIGIT_CARD, SIZES, STILL, WORD_BANNER, Kind, Side

LONGEST_EVENT_S = 5
COVER_MARGIN_S = 0.4  # a cover stands this long before and after its object
_ASPECT = 16 / 9  # converts sizes, given as shares of the height, to shares of the width

Point = tuple[float, float]


class StorySegment(Schema):
    """One showing of a scene, [start_s, end_s)."""

    scene: str
    start_s: float
    end_s: float
    offset: float  # start in the scene's panorama, 0..1
    drift: float  # frame widths per second; negative: the view pans left
    passer_speed: float  # a grey thing without a name passes behind the events: frame widths per second
    passer_height: float  # its height, 0..1


class Change(Schema):
    """An object changes its colour or size while it is visible."""

    at_s: float
    attribute: Literal["colour", "size"]
    to: str


class Cover(Schema):
    """Something in the foreground that hides part of an object, from COVER_MARGIN_S before to COVER_MARGIN_S after it."""

    thing: str  # one of vocabulary.COVERS
    side: Side  # the hidden side of the object
    share: float  # of the object's width or height


class Event(Schema):
    """Something shown, [start_s, end_s). Fields that its kind does not have are None."""

    number: int  # 0, 1, ... in order of time
    kind: Kind
    start_s: float
    end_s: float
    scene: str
    colour: str | None = None
    shape: str | None = None
    size: str | None = None
    text: str | None = None  # the digit or the word
    place: str | None = None  # None if it moves
    motion: str = STILL
    enters: Point  # centre at start_s, shares of width and height
    leaves: Point  # centre at end_s
    change: Change | None = None
    cover: Cover | None = None

    @property
    def name(self) -> str:
        """`red circle`, `digit 7`, `word STOP`: the same for all showings of a thing. A changing thing is named by its first look."""
        return f"{self.colour} {self.shape}" if self.kind == "object" else f"{self.kind} {self.text}"

    @property
    def extent(self) -> Point:
        """Width and height as shares of a 16:9 frame."""
        if self.size is None:
            return DIGIT_CARD if self.kind == "digit" else WORD_BANNER
        return SIZES[self.size] / _ASPECT, SIZES[self.size]

    def as_of(self, t: float) -> "Event":
        """The event as it looks at story time `t`, with that colour and size and without a later change."""
        if self.change is None or t < self.change.at_s:
            return self
        return self.model_copy(update={self.change.attribute: self.change.to, "change": None})

    def looks(self, attribute: str) -> tuple[str | None, ...]:
        """Every value of an attribute during the event, in order."""
        first = getattr(self, attribute)
        return (first, self.change.to) if self.change and self.change.attribute == attribute else (first,)

    def centre_at(self, t: float) -> Point:
        """Its centre at story time `t`."""
        share = min(max((t - self.start_s) / (self.end_s - self.start_s), 0.0), 1.0)
        (x0, y0), (x1, y1) = self.enters, self.leaves
        return x0 + (x1 - x0) * share, y0 + (y1 - y0) * share

    def box_at(self, t: float) -> tuple[float, float, float, float]:
        """Left, top, right and bottom at story time `t`."""
        (x, y), (width, height) = self.centre_at(t), self.as_of(t).extent
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2


class Script(Schema):
    """A whole story: the truth that questions are drawn from. JSON-able."""

    seed: int
    duration_s: float
    start_hour: float  # hour of the day at the start; determines the light
    config: WorldConfig
    segments: tuple[StorySegment, ...]
    events: tuple[Event, ...]
    camera: str | None = None  # which of several cameras films it; see cameras

    @cached_property
    def _segment_starts(self) -> list[float]:
        return [segment.start_s for segment in self.segments]

    @cached_property
    def _event_starts(self) -> list[float]:
        return [event.start_s for event in self.events]

    @cached_property
    def changes(self) -> list[float]:
        """Every time at which an event starts, changes or ends, or the scene changes, ascending."""
        edges = [edge for event in self.events for edge in (event.start_s, event.end_s)]
        turns = [event.change.at_s for event in self.events if event.change]
        return sorted({*edges, *turns, *self._segment_starts[1:]})

    def segment_at(self, t: float) -> StorySegment:
        """The scene shown at `t`; after the end, the last one."""
        return self.segments[max(bisect.bisect_right(self._segment_starts, t) - 1, 0)]

    def visible_at(self, t: float) -> tuple[Event, ...]:
        """The events visible at `t`, by start."""
        return tuple(event for event in self.around(t, 0.0) if event.start_s <= t < event.end_s)

    def around(self, t: float, margin_s: float) -> tuple[Event, ...]:
        """The events visible at `t`, or at most `margin_s` before or after it, by start."""
        first = bisect.bisect_right(self._event_starts, t - margin_s - LONGEST_EVENT_S)
        end = bisect.bisect_right(self._event_starts, t + margin_s)
        return tuple(event for event in self.events[first:end] if t < event.end_s + margin_s)
