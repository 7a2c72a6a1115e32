"""The topics of the service, and what a topic means. Pure.

    PREFIX/available, instance, statistics, last_answer       of the service, retained
    PREFIX/events, answer, error                              not retained
    PREFIX/ask                                                to the service
    PREFIX/CAMERA/state, attributes, last_frame, evidence     of a camera, retained
    PREFIX/CAMERA/FEATURE/state, FEATURE/set                  a feature (`paused`), and the command that changes it

A camera's level is its id; characters that a topic must not have are percent-encoded, and so is the first letter of an id that is a word
of the service: a camera `answer` is `%61nswer`.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

WORDS = frozenset({"available", "instance", "statistics", "last_answer", "events", "answer", "error", "ask"})
FEATURES = ("paused",)
OF_CAMERA = ("attributes", "last_frame", "evidence", *(f"{feature}/state" for feature in FEATURES), "state")
LONGEST_RESPONSE = 256  # characters of a response topic
_MOST_LEVELS = 8

Kind = Literal["ask", "set", "available", "instance", "attributes", "birth"]


@dataclass(frozen=True)
class Meaning:
    """What a message on a topic is about. level: of a camera. feature: that is set."""

    kind: Kind
    level: str = ""
    feature: str = ""


@dataclass(frozen=True)
class Topics:
    """prefix: of all topics. discovery: Home Assistant's prefix, or None."""

    prefix: str
    discovery: str | None = None

    def of(self, word: str) -> str:
        """A topic of the service itself."""
        assert word in WORDS
        return f"{self.prefix}/{word}"

    def of_camera(self, camera: str, rest: str) -> str:
        """A topic of a camera, by its id."""
        return f"{self.prefix}/{level_of(camera)}/{rest}"

    def all_of_level(self, level: str) -> list[str]:
        """All retained topics of a camera, the state last."""
        return [f"{self.prefix}/{level}/{rest}" for rest in OF_CAMERA]

    def subscriptions(self, *, commands: bool) -> list[str]:
        """Filters of what the service listens to."""
        own = [self.of("ask"), self.of("available"), self.of("instance"), f"{self.prefix}/+/attributes"]
        if commands:
            own += [f"{self.prefix}/+/{feature}/set" for feature in FEATURES]
        return own + ([f"{self.discovery}/status"] if self.discovery else [])

    def meaning(self, topic: str) -> Meaning | None:
        """What a message on this topic means, or None."""
        if self.discovery and topic == f"{self.discovery}/status":
            return Meaning("birth")
        prefix, _, rest = topic.rpartition("/")
        if prefix == self.prefix:
            known: dict[str, Kind] = {"ask": "ask", "available": "available", "instance": "instance"}
            return Meaning(known[rest]) if rest in known else None
        if not topic.startswith(f"{self.prefix}/"):
            return None
        parts = topic[len(self.prefix) + 1 :].split("/")
        if len(parts) == 2 and parts[0] and parts[1] == "attributes":
            return Meaning("attributes", parts[0])
        if len(parts) == 3 and parts[0] and parts[1] in FEATURES and parts[2] == "set":
            return Meaning("set", parts[0], parts[1])
        return None

    def allows_response(self, topic: str) -> bool:
        """Whether an answer may go to a topic that a client names: PREFIX/answer/..., so that nobody can write elsewhere through us."""
        if len(topic) > LONGEST_RESPONSE or any(sign in topic for sign in "+#") or not topic.isprintable():
            return False
        own = f"{self.of('answer')}/"
        levels = topic[len(own) :].split("/")
        return topic.startswith(own) and all(levels) and len(levels) <= _MOST_LEVELS


@lru_cache(4096)  # it is asked for every command that comes
def level_of(camera: str) -> str:
    """The level of a camera's topics. Different ids have different levels; it never holds `/`, `+`, `#`, `$` or control characters."""
    encoded = re.sub(r"[^\w.-]", _percent, camera)
    if camera in WORDS:
        encoded = f"%{ord(camera[0]):02x}{encoded[1:]}"
    return encoded


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02x}" for byte in match[0].encode(errors="surrogatepass"))
