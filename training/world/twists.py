"""What may befall an object while it is on show: it changes its colour or size, or something in front hides a part of it.

Drawn after the rest of a story, and only where the configuration asks for it. A thing that changes is shown once, and its new look is
no other thing's, so that its name stays its own.
"""

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Final

from afterview.training.world.config import WorldConfig
from afterview.training.world.story import Change, Cover, Event
from afterview.training.world.vocabulary import COVERS, SIZES, STILL

LOOK_S: Final = 2  # whole seconds that each look of a changing thing lasts at least: two frames at 1 FPS
COVERED: Final = (0.30, 0.45)  # share of an object that is hidden; what is left still tells its colour and shape


def twist(events: Sequence[Event], config: WorldConfig, rng: Random) -> list[Event]:
    """The events with what befalls them. Without a draw where the configuration asks for nothing."""
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
