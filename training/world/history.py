"""What somebody who watched from the beginning until `at_s` has seen, and how things in it can be named without doubt."""

import bisect
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from afterview.training.base.errors import WorldError
from afterview.training.world.story import Event, Script
from afterview.training.world.vocabulary import STILL, Kind, article

SETTLE_S = 2.0  # seconds after a change in which "now" depends on the sampling slot and on the lag of a live stream
_JUST_BEFORE_S = 0.001


@dataclass(frozen=True)
class Reference:
    """Names things by some of their attributes: `the big circle in the forest scene`. Those left out are None."""

    kind: Kind = "object"
    colour: str | None = None
    shape: str | None = None
    size: str | None = None
    text: str | None = None
    place: str | None = None
    scene: str | None = None

    def denotes(self, event: Event) -> bool:
        """Whether the event is one of those named.

        What moves might be said to be at any place, so every place fits it; what changes in view has both its looks.
        """
        for name in ("kind", "colour", "shape", "size", "text", "place", "scene"):
            wanted = getattr(self, name)
            if (
                wanted is not None
                and wanted not in event.looks(name)
                and not (name == "place" and event.motion != STILL)
            ):
                return False
        return True

    @property
    def qualifier(self) -> str:
        """` in the top left`, ` in the forest scene`, both or nothing."""
        place = f" in the {self.place}" if self.place else ""
        return place + (f" in the {self.scene} scene" if self.scene else "")

    @property
    def noun(self) -> str:
        """`red circle`, `red object`, `digit 7`, `digit`, with its qualifier."""
        words = (self.size, self.colour, self.shape or "object") if self.kind == "object" else (self.kind, self.text)
        return " ".join(said for said in words if said) + self.qualifier

    @property
    def the(self) -> str:
        """With the definite article."""
        return f"the {self.noun}"

    @property
    def a(self) -> str:
        """With the indefinite article; a digit and a word have only one of each."""
        return article(self.noun) if self.kind == "object" else self.the


def name_of(event: Event) -> Reference:
    """The reference that names the thing itself, wherever and whenever it is shown."""
    return Reference(kind=event.kind, colour=event.colour, shape=event.shape, text=event.text)


@dataclass(frozen=True)
class History:
    """The part of a script that is over or has begun at `at_s`. Build it with `history_at`.

    A change that is still to come is no part of it: the events are as somebody knows them at `at_s`.
    """

    script: Script
    at_s: float
    events: tuple[Event, ...]  # begun, in order of time
    times_shown: Counter[str]  # by name

    @property
    def singles(self) -> list[Event]:
        """Events of things that were shown exactly once, with one look: their name alone denotes them."""
        return [event for event in self.events if self.times_shown[event.name] == 1 and event.change is None]

    @property
    def now(self) -> Event | None:
        """The event on show, as it looks now."""
        return next((event.as_of(self.at_s) for event in self.script.visible_at(self.at_s)), None)

    @property
    def scenes(self) -> list[str]:
        """The scenes so far, in order of time, as often as they were shown; the last is the present one."""
        return [segment.scene for segment in self.script.segments if segment.start_s <= self.at_s]

    def denoted(self, reference: Reference) -> list[Event]:
        """The events that a reference names."""
        return [event for event in self.events if reference.denotes(event)]

    def absent_pairs(self) -> Iterator[tuple[str, str]]:
        """Colour-shape pairs of the world's pool that were not seen; first those whose colour and shape were, apart."""
        seen = {(colour, event.shape) for event in self.events for colour in event.looks("colour")}
        colours, shapes = {colour for colour, _ in seen}, {shape for _, shape in seen}
        absent = [pair for pair in self.script.config.colour_shape_pairs() if pair not in seen]
        yield from sorted(absent, key=lambda pair: (pair[0] not in colours) + (pair[1] not in shapes))


def history_at(script: Script, at_s: float) -> History:
    """What was seen until `at_s`. Raises WorldError where that is in doubt (see `settled_time`) or outside the story."""
    if not 0 <= at_s <= script.duration_s:
        raise WorldError(f"at {at_s:g} s there is nothing to ask: the story runs from 0 to {script.duration_s:g} s")
    settled = settled_time(script, at_s)
    if settled != at_s:
        raise WorldError(f"at {at_s:g} s something has just changed, so answers are in doubt; ask as of {settled:g} s")
    started = tuple(_known(event, at_s) for event in script.events if event.start_s <= at_s)
    return History(script, at_s, started, Counter(event.name for event in started))


def _known(event: Event, at_s: float) -> Event:
    """The event without a change that has not come yet."""
    return event if event.change is None or event.change.at_s <= at_s else event.model_copy(update={"change": None})


def settled_time(script: Script, at_s: float) -> float:
    """The last moment until `at_s` that has no change of the picture's content in the SETTLE_S before it.

    There, whoever sees one frame per second has seen every event that has begun and none that is over as present.
    """
    changes, settled = script.changes, min(at_s, script.duration_s)
    while (newest := bisect.bisect_right(changes, settled) - 1) >= 0 and settled < changes[newest] + SETTLE_S:
        settled = round(changes[newest] - _JUST_BEFORE_S, 6)
    return max(settled, 0.0)
