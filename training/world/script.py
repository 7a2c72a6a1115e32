"""What happens in a world, and when: a pure function of a seed.

A script is a row of scenes without a gap (each drifts; scenes change and return) and a few timed events in front of them: a
coloured shape, a digit or a word is there for a whole number of seconds, from seconds to hours apart. Rules that keep the truth exact:

- an event of n whole seconds shows on exactly n frames at 1 FPS, wherever it starts;
- events stand at least MIN_GAP_S apart, so that two showings of one thing are two to anybody who sees a frame per second;
- an event lies within one scene.

Times are seconds since the story began, in tenths.
"""

import bisect
import math
from functools import cached_property
from random import Random
from typing import Literal

from pydantic import Field, model_validator

from configs import Schema
from training.errors import WorldError
from training.world.vocabulary import (
    COLOURS,
    DIGIT_CARD,
    DIGITS,
    HELD_OUT_PAIRS,
    JITTER,
    MOTIONS,
    PLACES,
    ROWS,
    SCENES,
    SHAPES,
    SIZES,
    STILL,
    WORD_BANNER,
    WORDS,
    Kind,
)

MIN_DURATION_S = 10.0
MAX_DURATION_S = 86_400.0
MIN_GAP_S = 2.0  # between events
SCENE_MARGIN_S = 0.5  # between an event and a change of scene
LONGEST_EVENT_S = 5
SECONDS_PER_EVENT = 8.0  # a story is never denser than one event in this many seconds
_ATTEMPTS = 200  # places tried in time for one event before it is left out of a crowded story
_ASPECT = 16 / 9  # for which sizes, given in heights, are turned into shares of the width

Range = tuple[int, int]
Point = tuple[float, float]


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


class Segment(Schema):
    """One scene while it lasts, [start_s, end_s)."""

    scene: str
    start_s: float
    end_s: float
    offset: float  # where in the scene's panorama it begins, 0..1
    drift: float  # widths of the frame per second; negative: the view pans left
    passer_speed: float  # a grey, nameless thing passes behind the events: widths per second
    passer_height: float  # and at which height, 0..1


class Event(Schema):
    """Something shown, [start_s, end_s). Fields that a kind does not have are None."""

    number: int  # 0, 1, ... in order of time
    kind: Kind
    start_s: float
    end_s: float
    scene: str
    colour: str | None = None
    shape: str | None = None
    size: str | None = None
    text: str | None = None  # the digit or the word
    place: str | None = None  # None while it moves
    motion: str = STILL
    enters: Point  # centre at start_s, shares of width and height
    leaves: Point  # centre at end_s

    @property
    def name(self) -> str:
        """`red circle`, `digit 7`, `word STOP`: two showings of one thing have the same name."""
        return f"{self.colour} {self.shape}" if self.kind == "object" else f"{self.kind} {self.text}"

    @property
    def extent(self) -> Point:
        """Width and height as shares of a 16:9 frame."""
        if self.size is None:
            return DIGIT_CARD if self.kind == "digit" else WORD_BANNER
        return SIZES[self.size] / _ASPECT, SIZES[self.size]

    def centre_at(self, t: float) -> Point:
        """Where its centre is at story time `t`."""
        share = min(max((t - self.start_s) / (self.end_s - self.start_s), 0.0), 1.0)
        (x0, y0), (x1, y1) = self.enters, self.leaves
        return x0 + (x1 - x0) * share, y0 + (y1 - y0) * share

    def box_at(self, t: float) -> tuple[float, float, float, float]:
        """Left, top, right and bottom at story time `t`."""
        (x, y), (width, height) = self.centre_at(t), self.extent
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2


class Script(Schema):
    """A whole story. JSON-able, and the truth that questions are drawn from."""

    seed: int
    duration_s: float
    start_hour: float  # hour of the day at which it begins; the light follows it
    config: WorldConfig
    segments: tuple[Segment, ...]
    events: tuple[Event, ...]

    @cached_property
    def _segment_starts(self) -> list[float]:
        return [segment.start_s for segment in self.segments]

    @cached_property
    def _event_starts(self) -> list[float]:
        return [event.start_s for event in self.events]

    @cached_property
    def changes(self) -> list[float]:
        """Every moment at which an event begins or ends, or the scene changes, ascending."""
        edges = [edge for event in self.events for edge in (event.start_s, event.end_s)]
        return sorted({*edges, *self._segment_starts[1:]})

    def segment_at(self, t: float) -> Segment:
        """The scene shown at `t`; the last one from the end on."""
        return self.segments[max(bisect.bisect_right(self._segment_starts, t) - 1, 0)]

    def visible_at(self, t: float) -> tuple[Event, ...]:
        """The events shown at `t`, in order of their start."""
        first = bisect.bisect_right(self._event_starts, t - LONGEST_EVENT_S)
        begun = bisect.bisect_right(self._event_starts, t)
        return tuple(event for event in self.events[first:begun] if t < event.end_s)


def make_script(seed: int, duration_s: float, config: WorldConfig | None = None) -> Script:
    """The story of `seed`. The same arguments give the same story, always; its length changes the story.

    Raises WorldError for a negative seed or a duration outside [10 s, 24 h].
    """
    if seed < 0:
        raise WorldError(f"seed is {seed}; a world's seed is a whole number from 0 on")
    if not MIN_DURATION_S <= duration_s <= MAX_DURATION_S:
        raise WorldError(f"a world of {duration_s:g} seconds cannot be made; it lasts {MIN_DURATION_S:g} s to 24 hours")
    config = config or WorldConfig()
    rng = Random(f"afterimage world 1, seed {seed}")
    segments = _draw_segments(rng, duration_s, config)
    cast = _draw_cast(rng, config)
    rng.shuffle(cast)
    slots = _draw_slots(rng, segments, min(len(cast), max(1, int(duration_s / SECONDS_PER_EVENT))), duration_s)
    events = [
        stage(rng, thing, number, start, seconds, scene, config.moving)
        for number, (thing, (start, seconds, scene)) in enumerate(zip(cast, slots, strict=False))
    ]
    return Script(
        seed=seed,
        duration_s=duration_s,
        start_hour=round(rng.uniform(0, 24), 2),
        config=config,
        segments=tuple(segments),
        events=tuple(events),
    )


def _draw_segments(rng: Random, duration_s: float, config: WorldConfig) -> list[Segment]:
    """Scenes until the end; no scene follows itself."""
    palette = rng.sample(SCENES, rng.randint(*config.scenes))
    longest = max(min(config.scene_length_s[1], duration_s / 3), 8.0)
    shortest = min(config.scene_length_s[0], longest)
    segments: list[Segment] = []
    start = 0.0
    while start < duration_s:
        end = round(start + _log_uniform(rng, shortest, longest), 1)
        if duration_s - end < shortest:
            end = duration_s
        previous = segments[-1].scene if segments else None
        segments.append(
            Segment(
                scene=rng.choice([scene for scene in palette if scene != previous]),
                start_s=start,
                end_s=end,
                offset=rng.random(),
                drift=rng.choice((-1, 1)) * rng.uniform(0.006, 0.025),
                passer_speed=rng.choice((-1, 1)) * rng.uniform(0.03, 0.12),
                passer_height=rng.uniform(0.15, 0.85),
            )
        )
        start = end
    return segments


def _draw_cast(rng: Random, config: WorldConfig) -> list[dict[str, str]]:
    """What is shown, one entry a showing: the attributes that make its kind and name."""
    pairs = _draw_pairs(rng, rng.randint(*config.objects), config)
    objects = [
        {"kind": "object", "colour": colour, "shape": shape, "size": rng.choice(list(SIZES))} for colour, shape in pairs
    ]
    cast = list(objects)
    if objects:
        cast += [rng.choice(objects)] * rng.randint(*config.repeats)
    cast += [{"kind": "digit", "text": text} for text in rng.sample(DIGITS, rng.randint(*config.digits))]
    cast += [{"kind": "word", "text": text} for text in rng.sample(WORDS, rng.randint(*config.words))]
    return cast


def _draw_pairs(rng: Random, count: int, config: WorldConfig) -> list[tuple[str, str]]:
    """Different colour-shape pairs: all unlike one another, or each sharing its colour or its shape with an earlier one."""
    pool = config.colour_shape_pairs()
    alike = rng.random() < config.alike
    chosen: list[tuple[str, str]] = []
    while pool and len(chosen) < count:
        chosen.append(rng.choice(pool))
        colours, shapes = {colour for colour, _ in chosen}, {shape for _, shape in chosen}
        pool = [
            (colour, shape)
            for colour, shape in config.colour_shape_pairs()
            if (colour, shape) not in chosen and ((colour in colours or shape in shapes) == alike)
        ]
    return chosen


def _draw_slots(rng: Random, segments: list[Segment], count: int, duration_s: float) -> list[tuple[float, int, str]]:
    """Up to `count` places in time, ascending: start, whole seconds, scene.

    A third lie anywhere, a third a log-uniform time after another, a third a log-uniform time before the end, so that gaps and
    ages run from seconds to the length of the story.
    """
    starts = [segment.start_s for segment in segments]
    taken: list[tuple[float, int, str]] = []
    for _ in range(count):
        for _ in range(_ATTEMPTS):
            seconds = rng.randint(1, LONGEST_EVENT_S)
            start = round(_draw_start(rng, [slot[0] + slot[1] for slot in taken], duration_s), 1)
            segment = segments[max(bisect.bisect_right(starts, start) - 1, 0)]
            inside = segment.start_s + SCENE_MARGIN_S <= start and start + seconds <= segment.end_s - SCENE_MARGIN_S
            if inside and all(
                start >= other + length + MIN_GAP_S or start + seconds + MIN_GAP_S <= other
                for other, length, _ in taken
            ):
                taken.append((start, seconds, segment.scene))
                break
    return sorted(taken)


def _draw_start(rng: Random, ends: list[float], duration_s: float) -> float:
    manner = rng.randrange(3)
    if manner == 0 or (manner == 1 and not ends):
        return rng.uniform(0, duration_s)
    apart = _log_uniform(rng, MIN_GAP_S, duration_s)
    return rng.choice(ends) + apart if manner == 1 else duration_s - apart


def stage(
    rng: Random, thing: dict[str, str], number: int, start: float, seconds: int, scene: str, moving: float
) -> Event:
    """Put a thing somewhere in the frame, or let it cross it. What crosses must be seen at least three times."""
    motion, place = STILL, None
    if thing["kind"] == "word":
        place = rng.choice(list(ROWS))
        enters = leaves = (0.5, ROWS[place])
    elif thing["kind"] == "object" and seconds >= 3 and rng.random() < moving:
        motion = rng.choice(list(MOTIONS))
        enters, leaves = MOTIONS[motion]
    else:
        place = rng.choice(list(PLACES))
        x, y = (
            round(centre + rng.uniform(-jitter, jitter), 3)
            for centre, jitter in zip(PLACES[place], JITTER, strict=True)
        )
        enters = leaves = (x, y)
    return Event.model_validate(
        {
            **thing,
            "number": number,
            "start_s": start,
            "end_s": round(start + seconds, 1),
            "scene": scene,
            "place": place,
            "motion": motion,
            "enters": enters,
            "leaves": leaves,
        }
    )


def _log_uniform(rng: Random, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(max(low, high))))
