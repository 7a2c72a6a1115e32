"""What a viewer has seen from the beginning until `at_s`, and unambiguous names for it."""

import bisect
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from afterview.training.base.errors import WorldError
from afterview.training.world.story import Event, Script
from afterview.training.world.vocabulary import STILL, Kind, article

SETTLE_S = 2.0  # seconds after a change; within them "now" depends on the sampling and on the delay of a live stream
_JUST_BEFORE_S = 0.001


@dataclass(frozen=True)
class Reference:
    """Names things by some of their attributes: `the big circle in the forest scene`. Unused attributes are None."""

    kind: Kind = "object"
    colour: str | None = None
    shape: str | None = None
    size: str | None = None
    text: str | None = None
    place: str | None = None
    scene: str | None = None

    def denotes(self, event: Event) -> bool:
        """Whether the reference matches the event.

        A moving thing matches every place. A changing thing matches both of its looks.
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
        """` in the top left`, ` in the forest scene`, both or empty."""
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
        """With the indefinite article; digits and words get the definite one."""
        return article(self.noun) if self.kind == "object" else self.the


def name_of(event: Event) -> Reference:
    """The reference that names the thing itself, wherever and whenever it is shown."""
    return Reference(kind=event.kind, colour=event.colour, shape=event.shape, text=event.text)


@dataclass(frozen=True)
class History:
    """The part of a script that has started by `at_s`. Built by `history_at`.

    A later change is not part of it: the events are as a viewer knows them at `at_s`.
    """

    script: Script
    at_s: float
    events: tuple[Event, ...]  # started, in order of time
    times_shown: Counter[str]  # by name

    @property
    def singles(self) -> list[Event]:
        """Events of things that were shown exactly once with one look, so that their name is unique."""
        return [event for event in self.events if self.times_shown[event.name] == 1 and event.change is None]

    @property
    def now(self) -> Event | None:
        """The visible event, with its present look."""
        return next((event.as_of(self.at_s) for event in self.script.visible_at(self.at_s)), None)

    @property
    def scenes(self) -> list[str]:
        """All scenes so far, in order of time, with repetitions. The last one is the present scene."""
        return [segment.scene for segment in self.script.segments if segment.start_s <= self.at_s]

    def denoted(self, reference: Reference) -> list[Event]:
        """The events that a reference matches."""
        return [event for event in self.events if reference.denotes(event)]

    def absent_pairs(self) -> Iterator[tuple[str, str]]:
        """Colour-shape pairs of the world that were not seen; first those whose colour and shape were seen separately."""
        seen = {(colour, event.shape) for event in self.events for colour in event.looks("colour")}
        colours, shapes = {colour for colour, _ in seen}, {shape for _, shape in seen}
        absent = [pair for pair in self.script.config.colour_shape_pairs() if pair not in seen]
        yield from sorted(absent, key=lambda pair: (pair[0] not in colours) + (pair[1] not in shapes))


def history_at(script: Script, at_s: float) -> History:
    """What was seen until `at_s`. Raises WorldError outside the story, and where answers are uncertain (see `settled_time`)."""
    if not 0 <= at_s <= script.duration_s:
        raise WorldError(f"at {at_s:g} s there is nothing to ask: the story runs from 0 to {script.duration_s:g} s")
    settled = settled_time(script, at_s)
    if settled != at_s:
        raise WorldError(f"at {at_s:g} s something has just changed, so answers are uncertain; ask as of {settled:g} s")
    started = tuple(_known(event, at_s) for event in script.events if event.start_s <= at_s)
    return History(script, at_s, started, Counter(event.name for event in started))


def _known(event: Event, at_s: float) -> Event:
    """The event without a later change."""
    return event if event.change is None or event.change.at_s <= at_s else event.model_copy(update={"change": None})


def settled_time(script: Script, at_s: float) -> float:
    """The last time up to `at_s` without a change of the picture's content in the SETTLE_S before it.

    A viewer of one frame per second has then seen every event that has started, and does not take a finished one for
    present.
    """
    changes, settled = script.changes, min(at_s, script.duration_s)
    while (newest := bisect.bisect_right(changes, settled) - 1) >= 0 and settled < changes[newest] + SETTLE_S:
        settled = round(changes[newest] - _JUST_BEFORE_S, 6)
    return max(settled, 0.0)
