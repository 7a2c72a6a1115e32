"""Twists: an object changes its colour or size while it is visible, or something in front hides part of it.

Drawn after the rest of a story, and only if the configuration asks for it. A changing thing is shown once, and no other
thing has its new look, so its name stays unique.
"""

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Final

from afterview.training.world.config import WorldConfig
from afterview.training.world.story import Change, Cover, Event
from afterview.training.world.vocabulary import COVERS, SIZES, STILL

LOOK_S: Final = 2  # least whole seconds of each look of a changing thing: two frames at 1 FPS
COVERED: Final = (0.30, 0.45)  # hidden share of an object; the rest still shows its colour and shape


def twist(events: Sequence[Event], config: WorldConfig, rng: Random) -> list[Event]:
    """The events with their twists. Draws nothing if the configuration asks for none."""
    if not (config.changing or config.hidden):
        return list(events)
    shown = Counter(event.name for event in events)
    taken = {(event.colour, event.shape) for event in events}
    twisted = []
    for event in events:
        if shown[event.name] == 1 and (change := _draw_change(event, config, taken, rng)):
            taken.add((change.to, event.shape))
            event = event.model_copy(update={"change": change})
        elif event.kind == "object" and event.motion == STILL and rng.random() < config.hidden:
            event = event.model_copy(update={"cover": _draw_cover(rng)})
        twisted.append(event)
    return twisted


def _draw_change(
    event: Event, config: WorldConfig, taken: set[tuple[str | None, str | None]], rng: Random
) -> Change | None:
    seconds = round(event.end_s - event.start_s)
    if event.kind != "object" or seconds < 2 * LOOK_S or rng.random() >= config.changing:
        return None
    at_s = round(event.start_s + rng.randint(LOOK_S, seconds - LOOK_S), 1)
    pairs = [pair for pair in config.colour_shape_pairs() if pair[1] == event.shape and pair not in taken]
    if pairs and rng.random() < 0.5:
        return Change(at_s=at_s, attribute="colour", to=rng.choice(pairs)[0])
    return Change(at_s=at_s, attribute="size", to=next(size for size in SIZES if size != event.size))


def _draw_cover(rng: Random) -> Cover:
    thing = rng.choice(list(COVERS))
    return Cover(thing=thing, side=rng.choice(COVERS[thing]), share=round(rng.uniform(*COVERED), 2))
