"""A model server's answers that check what they were sent against the footage itself, and say what they saw."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tests.support.footage import Footage
from tests.support.model_server import Chat, SeenFrame

_LABEL = re.compile(r"Frame (\d+), camera (.+), (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (\S+):")
MOST_DIFFERENCE = 3.0  # mean, of 255, between a picture that was sent and the footage: compressed twice, and scaled


@dataclass
class CheckingModel:
    """Use as `ModelServer.answers`. shown: what each camera was pointed at. starts: the time of its first picture.

    zone: of the cameras. frames, image_size: as configured. slack_s: how far from its time the footage may show a picture: labels have
    whole seconds. problems: what was wrong, of all chats. seen: pictures of each camera, with the seconds of the footage.
    """

    shown: Mapping[str, Footage]
    starts: Mapping[str, datetime]
    zone: ZoneInfo
    frames: int
    image_size: int
    slack_s: float = 1.0
    problems: list[str] = field(default_factory=list)
    seen: dict[str, list[tuple[bytes, float]]] = field(default_factory=dict)

    def __call__(self, chat: Chat) -> str:
        """The answer: how many pictures of which camera, from when to when, and which one is the brightest."""
        if not 1 <= len(chat.frames) <= self.frames:
            self.problems.append(f"{len(chat.frames)} frames; {self.frames} are configured")
        times = [self._check(place, one) for place, one in enumerate(chat.frames, 1)]
        if times != sorted(times):
            self.problems.append(f"not in order of time: {times}")
        camera = self._camera(chat.frames[0])
        if {self._camera(one) for one in chat.frames} != {camera}:
            self.problems.append("frames of several cameras in one request")
        best = max(chat.frames, key=lambda one: one.gray)
        return (
            f"CONFIRMED: {len(chat.frames)} pictures of {camera}, {times[0]:%H:%M:%S} until {times[-1]:%H:%M:%S}; "
            f"the brightest is [{best.number}]"
        )

    def _check(self, place: int, one: SeenFrame) -> datetime:
        """The time of one frame; what is wrong with it is noted."""
        found = _LABEL.fullmatch(one.label)
        if found is None:
            self.problems.append(f"not a frame's label: {one.label!r}")
            return datetime.min.replace(tzinfo=self.zone)
        time = datetime.fromisoformat(found[3]).replace(tzinfo=self.zone)
        if (int(found[1]), found[4]) != (place, time.tzname()):
            self.problems.append(f"the {place}. frame is called {one.label!r}")
        footage = self.shown[found[2]]
        width, height = footage.size
        short = min(width, height, self.image_size)
        wanted = (round(width * short / min(width, height)), round(height * short / min(width, height)))
        if max(abs(one.size[0] - wanted[0]), abs(one.size[1] - wanted[1])) > 2:
            self.problems.append(f"{one.label!r}: its picture has {one.size}, not {wanted}")
        second = (time - self.starts[found[2]]) / timedelta(seconds=1)
        self.seen.setdefault(found[2], []).append((one.jpeg, second))
        difference = footage.difference(one.jpeg, second, self.slack_s)
        if difference > MOST_DIFFERENCE:
            self.problems.append(f"{one.label!r}: its picture is another one: {difference:.1f}")
        return time

    def _camera(self, one: SeenFrame) -> str:
        found = _LABEL.fullmatch(one.label)
        return found[2] if found is not None else ""
