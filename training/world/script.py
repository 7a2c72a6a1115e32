"""What happens in a world and when: a pure function of a seed.

Rules that keep the truth exact:

- an event of n whole seconds is on exactly n frames at 1 FPS, wherever it starts;
- events are at least MIN_GAP_S apart, so that a viewer of one frame per second can tell two showings of a thing apart;
- an event lies within one scene.
"""

import bisect
import math
from random import Random

from afterview.training.base.errors import WorldError
from afterview.training.base.seeds import seeded
from afterview.training.world.config import WorldConfig
from afterview.training.world.story import LONGEST_EVENT_S, Event, Script, StorySegment
from afterview.training.world.twists import twist
from afterview.training.world.vocabulary import DIGITS, JITTER, MOTIONS, PLACES, ROWS, SCENES, SIZES, STILL, WORDS

MIN_DURATION_S = 10.0
MAX_DURATION_S = 86_400.0
MIN_GAP_S = 2.0  # between events
SCENE_MARGIN_S = 0.5  # between an event and a scene change
SECONDS_PER_EVENT = 8.0  # a story has at most one event in this many seconds
_ATTEMPTS = 200  # attempts to place one event before it is left out of a crowded story


def make_script(seed: int, duration_s: float, config: WorldConfig | None = None, camera: str | None = None) -> Script:
    """The story of `seed`, or one camera's part of it. The same arguments give the same story; another duration gives another story.

    Raises WorldError for a negative seed or a duration outside [10 s, 24 h].
    """
    if seed < 0:
        raise WorldError(f"seed is {seed}; a world's seed is a whole number from 0 on")
    if not MIN_DURATION_S <= duration_s <= MAX_DURATION_S:
        raise WorldError(f"a world of {duration_s:g} seconds cannot be made; it lasts {MIN_DURATION_S:g} s to 24 hours")
    config = config or WorldConfig()
    rng = seeded(f"world 1, seed {seed}" + (f", camera {camera}" if camera else ""))
    segments = _draw_segments(rng, duration_s, config)
    cast = _draw_cast(rng, config)
    rng.shuffle(cast)
    slots = _draw_slots(rng, segments, min(len(cast), max(1, int(duration_s / SECONDS_PER_EVENT))), duration_s)
    events = [
        place_event(rng, thing, number, start, seconds, scene, config.moving)
        for number, (thing, (start, seconds, scene)) in enumerate(zip(cast, slots, strict=False))
    ]
    start_hour = round(rng.uniform(0, 24), 2)
    return Script(
        seed=seed,
        duration_s=duration_s,
        start_hour=start_hour,
        config=config,
        segments=tuple(segments),
        events=tuple(twist(events, config, rng)),
        camera=camera,
    )


def _draw_segments(rng: Random, duration_s: float, config: WorldConfig) -> list[StorySegment]:
    """Scenes until the end. No scene follows itself."""
    palette = rng.sample(SCENES, rng.randint(*config.scenes))
    longest = max(min(config.scene_length_s[1], duration_s / 3), 8.0)
    shortest = min(config.scene_length_s[0], longest)
    segments: list[StorySegment] = []
    start = 0.0
    while start < duration_s:
        end = round(start + _log_uniform(rng, shortest, longest), 1)
        if duration_s - end < shortest:
            end = duration_s
        previous = segments[-1].scene if segments else None
        segments.append(
            StorySegment(
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
    """What is shown: the attributes of each showing."""
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
    """Different colour-shape pairs: all dissimilar, or each sharing its colour or shape with an earlier one."""
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


def _draw_slots(
    rng: Random, segments: list[StorySegment], count: int, duration_s: float
) -> list[tuple[float, int, str]]:
    """Up to `count` times, ascending: start, whole seconds, scene.

    A third is anywhere, a third a log-uniform time after another, a third a log-uniform time before the end. So gaps
    and ages range from seconds to the length of the story.
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


def place_event(
    rng: Random, thing: dict[str, str], number: int, start: float, seconds: int, scene: str, moving: float
) -> Event:
    """Place a thing in the frame, or let it cross the frame. A crossing thing must be seen at least three times."""
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
