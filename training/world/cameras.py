"""Several cameras that share one story. Each films its own scenes and things; some things move from one camera to the next.

Such a journey is one thing with a unique look. It leaves one camera's frame and, some seconds later, enters another's.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

from afterview.configs import Schema
from afterview.training.base.errors import WorldError
from afterview.training.base.seeds import seeded
from afterview.training.world.config import WorldConfig
from afterview.training.world.script import MIN_GAP_S, SCENE_MARGIN_S, make_script
from afterview.training.world.story import Event, Point, Script
from afterview.training.world.vocabulary import CAMERAS, SIZES

SECONDS_PER_JOURNEY: Final = 60.0  # one journey per this time, up to MOST_JOURNEYS
MOST_JOURNEYS: Final = 6
LEG_S: Final = (3, 4)  # whole seconds that one camera sees the moving thing
BETWEEN_S: Final = (3.0, 20.0)  # seconds between two cameras
_ATTEMPTS: Final = 2000  # attempts per journey before a crowded story does without it


class Leg(Schema):
    """One camera's part of a journey: an event of its script."""

    camera: str
    event: int


class Journey(Schema):
    """A thing moving from camera to camera, in order of time."""

    thing: str
    legs: tuple[Leg, ...]


class SharedStory(Schema):
    """What several cameras film at the same time. JSON-able."""

    seed: int
    duration_s: float
    scripts: tuple[Script, ...]  # one for each camera
    journeys: tuple[Journey, ...]

    @property
    def cameras(self) -> list[str]:
        """Names of the cameras."""
        return [script.camera or "" for script in self.scripts]

    def script(self, camera: str) -> Script:
        """The script of a camera. Raises WorldError for an unknown one."""
        for script in self.scripts:
            if script.camera == camera:
                return script
        raise WorldError(f"there is no camera '{camera}' in this story; there are: {', '.join(self.cameras)}")


def make_shared_story(seed: int, duration_s: float, cameras: int = 2, config: WorldConfig | None = None) -> SharedStory:
    """The story of `seed` for this many cameras. The same arguments give the same story. Raises WorldError as make_script does."""
    if not 2 <= cameras <= len(CAMERAS):
        raise WorldError(f"{cameras} cameras cannot share a story; it takes 2 to {len(CAMERAS)}")
    config = config or WorldConfig()
    scripts = {camera: make_script(seed, duration_s, config, camera) for camera in CAMERAS[:cameras]}
    rng = seeded(f"cameras 1, seed {seed}")
    routes: list[list[tuple[str, Event]]] = []
    wanted = min(MOST_JOURNEYS, max(1, int(duration_s / SECONDS_PER_JOURNEY)))
    for colour, shape in rng.sample(unused := _unused_pairs(scripts, config), min(wanted, len(unused))):
        thing = {"kind": "object", "colour": colour, "shape": shape, "size": rng.choice(list(SIZES))}
        if route := _draw_route(rng, thing, scripts, duration_s):
            routes.append(route)
            scripts = {name: _with(script, [e for at, e in route if at == name]) for name, script in scripts.items()}
    journeys = [_journey(route, scripts) for route in sorted(routes, key=lambda route: route[0][1].start_s)]
    return SharedStory(seed=seed, duration_s=duration_s, scripts=tuple(scripts.values()), journeys=tuple(journeys))


def _unused_pairs(scripts: dict[str, Script], config: WorldConfig) -> list[tuple[str, str]]:
    used = {(colour, e.shape) for script in scripts.values() for e in script.events for colour in e.looks("colour")}
    return [pair for pair in config.colour_shape_pairs() if pair not in used]


def _draw_route(
    rng: Random, thing: dict[str, str], scripts: dict[str, Script], duration_s: float
) -> list[tuple[str, Event]] | None:
    """The cameras of a journey, each with its event. None if the story is too crowded."""
    for _ in range(_ATTEMPTS):
        cameras = rng.sample(list(scripts), 2 if len(scripts) == 2 else rng.choice((2, 2, 3)))
        way = rng.choice(("left", "right"))
        start = round(rng.uniform(SCENE_MARGIN_S, duration_s), 1)
        route = []
        for number, camera in enumerate(cameras):
            seconds = rng.randint(*LEG_S)
            scene = _room(scripts[camera], start, seconds)
            if scene is None:
                break
            enters, leaves = _path(way, first=number == 0, last=number == len(cameras) - 1)
            route.append((camera, Event.model_validate({
                **thing, "number": 0, "start_s": start, "end_s": round(start + seconds, 1), "scene": scene, "motion": way,
                "enters": enters, "leaves": leaves,
            })))  # fmt: skip
            start = round(start + seconds + rng.uniform(*BETWEEN_S), 1)
        if len(route) == len(cameras):
            return route
    return None


def _room(script: Script, start: float, seconds: int) -> str | None:
    """The scene that a camera shows during this time, if nothing else is visible then; otherwise None."""
    end, segment = start + seconds, script.segment_at(start)
    inside = segment.start_s + SCENE_MARGIN_S <= start and end <= segment.end_s - SCENE_MARGIN_S
    free = all(start >= e.end_s + MIN_GAP_S or end + MIN_GAP_S <= e.start_s for e in script.events)
    return segment.scene if inside and free else None


def _path(way: str, *, first: bool, last: bool) -> tuple[Point, Point]:
    """Start and end of the movement.

    At a side that the thing comes from or goes to, it is half out of the frame, so that every frame shows it.
    """
    start, end = (0.5 if first else 0.0), (0.5 if last else 1.0)
    if way == "left":
        start, end = 1 - start, 1 - end
    return (start, 0.5), (end, 0.5)


def _with(script: Script, more: Sequence[Event]) -> Script:
    """The script with additional events, renumbered."""
    events = sorted((*script.events, *more), key=lambda event: event.start_s)
    numbered = tuple(event.model_copy(update={"number": number}) for number, event in enumerate(events))
    return Script.model_validate({**script.model_dump(), "events": [event.model_dump() for event in numbered]})


def _journey(route: list[tuple[str, Event]], scripts: dict[str, Script]) -> Journey:
    legs = [
        Leg(camera=camera, event=next(e.number for e in scripts[camera].events if e.start_s == event.start_s))
        for camera, event in route
    ]
    return Journey(thing=route[0][1].name, legs=tuple(legs))
